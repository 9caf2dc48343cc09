import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.sensing.formats import (
    AltBeacon,
    BlueTrace,
    Broken,
    Gaen,
    IBeacon,
    Tag,
    bluetrace,
    gaen,
    ibeacon,
    parse,
    read,
    tag,
    token,
)
from edge.sensing.formats.ad import FLAGS, join, split
from edge.sensing.formats.eddystone import (
    EddystoneEid,
    EddystoneEncryptedTlm,
    EddystoneTlm,
    EddystoneUid,
    EddystoneUrl,
)
from edge.sensing.formats.hci import Report, reports

IDENTIFIERS, METADATA = st.binary(min_size=16, max_size=16), st.binary(min_size=4, max_size=4)


@pytest.fixture
def adverts() -> Path:
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("JAGA_SHARED_DATA", beside)) / "adverts"
    if not folder.is_dir():
        pytest.skip(f"no real frames in {folder}: set JAGA_SHARED_DATA (sources are in its PROVENANCE.md)")
    return folder


def ad_of(fixture):
    data = bytes.fromhex(fixture["hex"])
    if fixture["layer"] == "HCI_H4_event":
        (report,) = reports(data[1:])
        if fixture["expected"]:
            assert report.rssi_dbm == fixture["expected"]["rssi"]
        # The address that the other project's test expects is in nothing we return.
        assert data[7:13] not in report.ad
        return report.ad
    return join((0x16, gaen.SERVICE + data)) if fixture["layer"] == "service_data_fd6f" else data


def as_expected(frame, expected):  # noqa: PLR0911
    """Our fields under the names that the other projects' tests give them."""
    if isinstance(frame, EddystoneUid):
        ours = {"namespace": frame.namespace.hex(), "instance": frame.instance.hex(), "tx_power": frame.power_dbm}
        return ours | {"properties": {"namespace": ours["namespace"], "instance": ours["instance"]}}
    if isinstance(frame, EddystoneUrl):
        return {"url": frame.url, "tx_power": frame.power_dbm}
    if isinstance(frame, EddystoneTlm):
        ours = {"voltage": frame.battery_mv, "temperature": frame.temperature_c, "advertising_count": frame.frames}
        return ours | {"seconds_since_boot": round(frame.up_s * 10)}  # theirs are tenths
    if isinstance(frame, EddystoneEncryptedTlm):
        salt, check = (int.from_bytes(two, "little") for two in (frame.salt, frame.check))
        return {"encrypted_data": frame.encrypted.hex(), "salt": salt, "mic": check}
    if isinstance(frame, EddystoneEid):
        return {"tx_power": frame.power_dbm, "eid": frame.identifier.hex()}
    if isinstance(frame, IBeacon):
        uuid = frame.uuid.hex()
        if "-" in expected["uuid"]:
            uuid = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
        power = {"tx_power": frame.power_dbm, "measured power": frame.power_dbm}
        return {"uuid": uuid, "major": frame.major, "minor": frame.minor} | power
    if isinstance(frame, AltBeacon):
        numbers = frame.identifier[16:]
        major, minor = int.from_bytes(numbers[:2], "big"), int.from_bytes(numbers[2:], "big")
        return {"uuid": frame.identifier[:16].hex(), "major": major, "minor": minor, "measured power": frame.power_dbm}
    return {"rpi": frame.identifier.hex(), "aem": frame.metadata.hex()}


# What other projects derive from a frame, or read beside it.
NOT_IN_THE_FRAME = {
    "type",
    "packet",
    "firmware",
    "rssi",
    "mac",
    "manufacturer",
    "cypress temperature",
    "cypress humidity",
}


def test_frames_that_other_projects_test_with_decode_to_the_fields_they_expect(adverts):
    fixtures = json.loads((adverts / "third_party_fixtures.json").read_text())
    decoded = 0
    for fixture in fixtures:
        frame, expected = parse(ad_of(fixture)), fixture["expected"]
        name = fixture["source"].split("::")[-1]
        if "estimote" in name or ("test_bad" in name) or "iphone_ble" in name:
            assert frame is None, name
            continue
        assert frame is not None, name
        if expected:
            ours = as_expected(frame, expected)
            wanted = {field: value for field, value in expected.items() if field not in NOT_IN_THE_FRAME}
            assert {field: ours.get(field) for field in wanted} == wanted, name
        decoded += 1
    assert (len(fixtures), decoded) == (28, 14)


def test_real_frames_of_phones_all_decode(adverts):
    lines = (adverts / "dp3t_gaen_frames_sample.jsonl").read_text().splitlines()
    frames = [parse(bytes.fromhex(json.loads(line)["ad"])) for line in lines]
    assert len(frames) == 447
    assert all(isinstance(frame, Gaen) for frame in frames)
    # Phones show a few identifiers and repeat them; each has one metadata.
    shown = {frame.identifier: frame.metadata for frame in frames}
    assert {(frame.identifier, frame.metadata) for frame in frames} == set(shown.items())
    assert len(shown) < 447


@given(IDENTIFIERS, METADATA)
def test_what_we_send_is_what_we_hear(identifier, metadata):
    assert parse(gaen.encode(identifier, metadata)) == Gaen(identifier, metadata)
    assert parse(tag.encode(identifier, metadata)) == Tag(identifier, metadata)
    assert len(tag.encode(identifier, metadata)) <= 31


@given(IDENTIFIERS, st.integers(0, 65535), st.integers(0, 65535), st.integers(-128, 127))
def test_a_beacon_of_a_room_says_which(uuid, major, minor, power_dbm):
    beacon = IBeacon(uuid, major, minor, power_dbm)
    assert parse(ibeacon.encode(beacon)) == beacon
    # Some makers add a byte for the battery.
    data = dict(split(ibeacon.encode(beacon))[0])[0xFF]
    assert parse(join((0xFF, data + b"\x64"))) == beacon


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=8))
def test_structures_are_split_as_they_were_joined(structures):
    assert split(join(*structures)) == (structures, b"")


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), min_size=1, max_size=4), st.integers(1, 4))
def test_of_data_that_is_cut_off_the_whole_structures_are_left(structures, missing):
    whole = join(*structures)
    last = join(structures[-1])
    cut = whole[: -min(missing, len(last) - 1)]
    found, rest = split(cut)
    assert found == structures[:-1]
    assert rest == cut[len(whole) - len(last) :]


@given(IDENTIFIERS, METADATA, st.integers(1, 31))
def test_a_length_of_zero_ends_what_counts(identifier, metadata, padding):
    assert parse(gaen.encode(identifier, metadata) + bytes(padding)) == Gaen(identifier, metadata)
    assert parse(bytes(1) + gaen.encode(identifier, metadata)) is None


@pytest.mark.parametrize(
    ("hex_", "format_"),
    [
        ("0201060303", "ad"),  # cut off
        ("16166ffd" + "00" * 19, "gaen"),  # a byte short
        ("18166ffd" + "00" * 21, "gaen"),  # a byte long
        ("1affffff4a4702" + "00" * 20, "tag"),  # another version
        ("19ffffff4a4701" + "00" * 19, "tag"),
        ("19ff4c000215" + "00" * 20, "ibeacon"),
        ("1affffffbeac" + "00" * 21, "altbeacon"),
        ("0816aafe0000112233", "eddystone"),
        ("0516aafe10e7", "eddystone"),
        ("0716aafe10e70480", "eddystone"),  # no such scheme
        ("0616aafe10e70080", "eddystone"),
        ("0716aafe10e70080", "eddystone"),  # no character of a URL
    ],
)
def test_a_broken_frame_is_told_from_an_unknown_one(hex_, format_):
    ad = bytes.fromhex(hex_)
    assert read(ad) == Broken(format_)
    assert parse(ad) is None


def test_an_unknown_frame_is_no_broken_one():
    assert read(bytes.fromhex("020106")) is None
    assert read(join((0xFF, b"\x4c\x00\x10\x05"))) is None
    assert read(join((0xFF, b"\xff\xff"))) is None
    assert read(join((0x16, b"\xaa\xfe\x40"))) is None


def test_a_phone_that_takes_part_in_bluetrace_is_seen_and_not_who_it_is():
    service = bytes.fromhex("b82ab3fc15954f6a80f0fe094cc218f9")[::-1]
    other = bytes(range(16))
    for ad in (join((0x07, service)), FLAGS + join((0x06, other + service)), join((0x21, service + b"?"))):
        assert parse(ad) == BlueTrace()
    for ad in (join((0x07, other)), join((0x07, service[1:] + b"\0")), join((0x21, other + service))):
        assert parse(ad) is None
    assert service == bluetrace.SERVICE


def test_a_token_comes_before_what_is_not_kept():
    beacon = ibeacon.encode(IBeacon(bytes(16), 1, 2, -59))
    assert parse(beacon + gaen.encode(bytes(16), bytes(4))) == Gaen(bytes(16), bytes(4))
    assert parse(join((0x16, gaen.SERVICE)) + beacon) == IBeacon(bytes(16), 1, 2, -59)


MARKS = st.sampled_from(
    [gaen.SERVICE, b"\xaa\xfe", b"\x4c\x00\x02\x15", b"\xff\xff\xbe\xac", b"\xff\xffJG\x01", bluetrace.SERVICE]
)
ENDS = st.binary(max_size=28) | st.binary(min_size=20, max_size=20)
NEARLY = st.lists(
    st.tuples(st.sampled_from([0x16, 0xFF, 0x07, 0x21, 0x01]), st.builds(bytes.__add__, MARKS, ENDS)),
    max_size=4,
).map(lambda structures: join(*structures))


@given(st.binary(max_size=64) | NEARLY | st.builds(bytes.__add__, NEARLY, st.binary(max_size=8)))
@example(b"")
def test_no_bytes_make_the_parser_raise(ad):
    frame = parse(ad)
    if isinstance(frame, Gaen | Tag):
        assert (len(frame.identifier), len(frame.metadata)) == (16, 4)
        assert token(ad) == (frame.identifier, frame.metadata)
    else:
        assert token(ad) is None


def legacy(*parts):
    """An HCI event with these advertisements, from address 11:22:33:44:55:66."""
    body = b"".join(
        bytes((3, 1)) + b"\x66\x55\x44\x33\x22\x11" + bytes((len(ad),)) + ad + bytes((rssi & 0xFF,))
        for ad, rssi in parts
    )
    return bytes((0x3E, len(body) + 2, 0x02, len(parts))) + body


def extended(*parts, event_type=0x0010):
    body = b"".join(
        event_type.to_bytes(2, "little")
        + bytes((1,))
        + b"\x66\x55\x44\x33\x22\x11"
        + bytes((1, 0, 0xFF, 0x7F, rssi & 0xFF))
        + bytes(9)
        + bytes((len(ad),))
        + ad
        for ad, rssi in parts
    )
    return bytes((0x3E, len(body) + 2, 0x0D, len(parts))) + body


# An event holds 255 bytes: of full reports, as many as fit.
PARTS = st.lists(st.tuples(st.binary(max_size=31), st.integers(-127, 127)), max_size=4)


@given(PARTS)
def test_advertising_reports_of_both_kinds_are_unwrapped(parts):
    assert reports(legacy(*parts)) == [Report(*part) for part in parts]
    assert reports(extended(*parts)) == [Report(*part) for part in parts]


@given(PARTS, st.integers(0, 300))
def test_an_event_that_is_cut_off_gives_no_reports(parts, length):
    for event in (legacy(*parts), extended(*parts)):
        if length < len(event):
            assert reports(event[:length]) == []


@pytest.mark.parametrize("status", [0x20, 0x40])
def test_parts_of_a_long_advertisement_are_left_out(status):
    assert reports(extended((b"\x02\x01\x06", -50), event_type=status)) == []


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda b: bytes((0x3E, len(b) % 256)) + b))
def test_no_bytes_make_the_unwrapping_raise(event):
    for report in reports(event):
        assert report.ad in event


@pytest.mark.system
@pytest.mark.slow
def test_a_million_random_and_mutated_frames_raise_nothing(adverts):
    lines = (adverts / "dp3t_gaen_frames_sample.jsonl").read_text().splitlines()
    seeds = [bytes.fromhex(json.loads(line)["ad"]) for line in lines[::20]]
    seeds += [ad_of(fixture) for fixture in json.loads((adverts / "third_party_fixtures.json").read_text())]
    seeds += [tag.encode(bytes(16), bytes(4)), join((0x07, bluetrace.SERVICE))]
    chance = random.Random(1)
    outcomes = {"known": 0, "broken": 0, "unknown": 0}
    for n in range(1_000_000):
        if n % 4 == 0:
            ad = chance.randbytes(chance.randrange(64))
        else:
            mutated = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(1, 4)):
                if mutated:
                    mutated[chance.randrange(len(mutated))] = chance.randrange(256)
            ad = bytes(mutated[: chance.randrange(len(mutated) + 1)]) if n % 4 == 1 else bytes(mutated)
        found = read(ad)
        outcomes["unknown" if found is None else "broken" if isinstance(found, Broken) else "known"] += 1
        assert parse(ad) == (None if isinstance(found, Broken) else found)
        assert token(ad) == ((found.identifier, found.metadata) if isinstance(found, Gaen | Tag) else None)
        reports(b"\x3e" + bytes((len(ad) % 256,)) + ad)
    # All three happened often, or the frames were no test.
    assert min(outcomes.values()) > 50_000, outcomes
