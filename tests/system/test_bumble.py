"""Advertised by one virtual controller, heard by another, read by our parser: no kernel Bluetooth, one process."""

import asyncio
import secrets
from collections import Counter

import pytest
from bumble.controller import Controller
from bumble.device import Device
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink

from edge.sensing.advertisement import Advertisement, RadioFrame
from edge.sensing.formats import Gaen, Tag, read
from edge.sensing.hearing import Counts, decode
from edge.sensing.rotating import Rotating
from privacy.tokens import tags

pytestmark = pytest.mark.system

NOON = 19_000 * 86400 + 43_200


def virtual_device(name: str, address: str, link: LocalLink) -> Device:
    host = Host()
    host.controller = Controller(name, link=link, public_address=Address(address))
    return Device(name=name, address=Address(address), host=host)


async def heard_over_the_air(ads: list[bytes], each: int) -> list[tuple[bytes, int]]:
    """Every advertiser sends its data until each was heard `each` times, by a passive scanner."""
    link = LocalLink()
    ear = virtual_device("ear", "F0:F1:F2:F3:F4:00", link)
    heard: list[tuple[bytes, int]] = []
    enough = asyncio.Event()

    def hear(report) -> None:
        heard.append((report.data_bytes, report.rssi))
        if min(Counter(ad for ad, _ in heard).get(ad, 0) for ad in ads) >= each:
            enough.set()

    ear.on("advertisement", hear)
    await ear.power_on()
    await ear.start_scanning(active=False, filter_duplicates=False)
    for number, ad in enumerate(ads, start=1):
        mouth = virtual_device(f"mouth {number}", f"F0:F1:F2:F3:F4:{number:02X}", link)
        await mouth.power_on()
        await mouth.start_advertising(
            advertising_data=ad, auto_restart=True, advertising_interval_min=20, advertising_interval_max=20
        )
    await asyncio.wait_for(enough.wait(), 20)
    return heard


@pytest.mark.parametrize(("shown_as", "kind"), [("tag", Tag), ("gaen", Gaen)])
def test_what_a_virtual_radio_sends_another_hears_and_the_parser_reads(shown_as, kind):
    secret = secrets.token_bytes(32)
    ad = Rotating(secret, shown_as).ad(NOON)
    heard = asyncio.run(heard_over_the_air([ad], each=3))
    assert {data for data, _ in heard} == {ad}
    frame = read(heard[0][0])
    assert isinstance(frame, kind)
    assert frame.identifier == tags.identifiers(secret, 19_000)[72]


def test_a_tag_and_a_phone_on_the_air_together_are_two_identifiers_of_one_stream():
    ads = [Rotating(secrets.token_bytes(32), shown_as).ad(NOON) for shown_as in ("tag", "gaen")]
    heard = asyncio.run(heard_over_the_air(ads, each=3))
    frames = [RadioFrame(ad, float(n), rssi) for n, (ad, rssi) in enumerate(heard)]
    counts = Counts()
    stream = [one for one in decode(frames, counts, None) if isinstance(one, Advertisement)]
    assert {one.identifier for one in stream} == {read(ad).identifier for ad in ads}
    assert counts.tokens == counts.frames == len(heard) >= 6
