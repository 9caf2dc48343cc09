"""bluepy-helper's protocol, with a stand-in for the helper (the machine has no Bluetooth) that sends real frames."""

import asyncio
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from helper_doubles import StandInHelper, children_left, made, recorded
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.advertisement import Advertisement, Heartbeat
from edge.sensing.clock import Clock
from edge.sensing.formats import read
from edge.sensing.hearing import Counts
from edge.sensing.scanner import Trouble
from edge.sensing.scanners.bluepy import BluepyEar
from edge.sensing.scanners.errors import (
    AdapterGone,
    Blocked,
    HelperDied,
    HelperMissing,
    HelperStalled,
    NoBluetooth,
    NoPermission,
    NotPowered,
    RadioError,
    ScanEnded,
    ScanRefused,
)
from edge.sensing.scanners.helper import fields_of, frame_of, installed_helper
from edge.sensing.scanners.radio import RadioScanner

pytestmark = pytest.mark.system


@pytest.fixture
def real_frames(shared_data) -> list[dict]:
    return recorded(shared_data)


@pytest.fixture
def made_frames() -> list[dict]:
    return made()


def ear(helper: StandInHelper, adapter: str = "hci0", counts: Counts | None = None, **times: float) -> BluepyEar:
    return BluepyEar(adapter, counts or Counts(), executable=helper.executable, sysfs=helper.sysfs, **times)


def listen_once(one: BluepyEar) -> tuple[list[tuple[bytes, int]], RadioError | None]:
    """Every frame that one start of the helper gave, and the error that ended it."""
    heard: list[tuple[bytes, int]] = []
    try:
        asyncio.run(one.listen(lambda ad, rssi: heard.append((ad, rssi)), lambda: None))
    except RadioError as why:
        return heard, why
    return heard, None


def expected(frames: list[dict], count: int) -> list[tuple[bytes, int]]:
    once = [(bytes.fromhex(f["ad"]), f["rssi"]) for f in frames]
    return [once[n % len(once)] for n in range(count)]


def test_of_a_hundred_thousand_real_frames_sent_by_a_stand_in_helper_not_one_is_lost(tmp_path, real_frames):
    helper = StandInHelper.make(tmp_path / "h", real_frames, [[["frames", 100_000], ["die", 0]]])
    heard, why = listen_once(ear(helper))
    assert isinstance(why, HelperDied)
    assert len(heard) == helper.sent == 100_000
    assert heard == expected(real_frames, 100_000)
    assert children_left(helper.pids) == []


@pytest.mark.parametrize("size", [1, 5, 60, 200])
def test_the_tail_of_a_burst_of_a_stand_in_helper_does_not_wait_for_the_next_line(tmp_path, real_frames, size):
    helper = StandInHelper.make(tmp_path / "h", real_frames, [[["bursts", 6 * size, size, 0.03]]])
    heard, why = listen_once(ear(helper, probe_s=0.2, renew_s=0.6))
    assert why is None
    assert heard == expected(real_frames, 6 * size)


def test_every_frame_a_stand_in_helper_sent_before_it_died_arrives(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["frames", 700], ["torn", 139]]])
    heard, why = listen_once(ear(helper))
    assert heard == expected(made_frames, 700)
    assert isinstance(why, HelperDied)
    assert "exit status 139" in str(why)


def test_garbage_lines_of_a_stand_in_helper_are_counted_and_cost_no_frame(tmp_path, made_frames):
    garbage = [
        "rsp=$scan\x1eaddr",
        "",
        "# comment",
        "no fields",
        "rsp=$scan\x1eaddr=bZZ\x1erssi=h1",
        "\xff\xfe=",
        "=" * 9000,
    ]
    life = [act for g in garbage for act in (["frames", 3], ["garbage", g])]
    counts = Counts()
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[*life, ["die", 1]]])
    heard, _ = listen_once(ear(helper, counts=counts))
    assert heard == expected(made_frames, 3 * len(garbage))
    assert counts.malformed == len(garbage) - 2


def test_a_stand_in_helper_that_stalls_is_named_killed_and_reaped(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["frames", 10], ["stall"]]])
    heard, why = listen_once(ear(helper, probe_s=0.3, answer_s=0.3))
    assert len(heard) == 10
    assert isinstance(why, HelperStalled)
    assert children_left(helper.pids) == []


def test_a_quiet_stand_in_helper_that_answers_is_left_alone_until_the_scan_is_renewed(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["quiet", 60]]])
    started = time.monotonic()
    heard, why = listen_once(ear(helper, probe_s=0.2, answer_s=0.2, renew_s=1.5))
    assert (heard, why) == ([], None)
    assert time.monotonic() - started >= 1.5
    assert children_left(helper.pids) == []


def test_an_adapter_that_is_unplugged_is_noticed_though_a_stand_in_helper_says_nothing(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["frames", 5], ["quiet", 60]]])
    heard: list[bytes] = []

    def hear(ad: bytes, _: int) -> None:
        heard.append(ad)
        if len(heard) == 5:
            helper.unplug("hci0")

    with pytest.raises(AdapterGone, match="hci0 is not there"):
        asyncio.run(asyncio.wait_for(ear(helper, probe_s=0.2).listen(hear, lambda: None), 5))
    assert children_left(helper.pids) == []


def test_no_helper_is_started_for_an_adapter_that_is_not_there(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [])
    _, why = listen_once(ear(helper, "hci3"))
    assert type(why) is AdapterGone
    assert "adapters: hci0" in str(why)
    assert helper.pids == []


REFUSALS = [
    (["rsp=$mgmt", "code=$mgmterr", "estat=hF", "emsg='Not Powered"], NotPowered, "bluetoothctl power on"),
    (["rsp=$mgmt", "code=$mgmterr", "estat=h11", "emsg='Invalid Index"], AdapterGone, "plug it in"),
    (["rsp=$mgmt", "code=$mgmterr", "estat=h12", "emsg='Blocked through rfkill"], Blocked, "rfkill unblock bluetooth"),
    (["rsp=$mgmt", "code=$mgmterr", "estat=h14", "emsg='Permission Denied"], NoPermission, r"sudo setcap cap_net_raw"),
    (["rsp=$mgmt", "code=$busy"], ScanRefused, "busy"),
    (["rsp=$mgmt", "code=$mgmterr", "estat=hB", "emsg='Rejected"], ScanRefused, "Rejected"),
    (["rsp=$err", "code=$nomgmt"], NoBluetooth, "AF_BLUETOOTH"),
]


@pytest.mark.parametrize(("answer", "error", "remedy"), REFUSALS, ids=[e.__name__ for _, e, _ in REFUSALS])
def test_a_refusal_of_a_stand_in_helper_is_named_with_its_remedy(tmp_path, made_frames, answer, error, remedy):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["refuse", answer]]])
    _, why = listen_once(ear(helper))
    assert type(why) is error
    assert remedy in str(why)
    assert children_left(helper.pids) == []


def test_a_scan_that_another_program_ended_is_named(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["frames", 4], ["ended"]]])
    heard, why = listen_once(ear(helper))
    assert len(heard) == 4
    assert type(why) is ScanEnded


def test_a_helper_that_is_not_there_is_named(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [])
    helper.executable.unlink()
    _, why = listen_once(ear(helper))
    assert type(why) is HelperMissing


def helpers_running() -> set[str]:
    return {comm.parent.name for comm in Path("/proc").glob("[0-9]*/comm") if "bluepy-helper" in comm.read_text()}


def test_the_real_helper_of_the_wheel_starts_answers_and_is_reaped(tmp_path):
    (tmp_path / "bluetooth" / "hci0").mkdir(parents=True)
    before = helpers_running()
    heard, why = listen_once(BluepyEar("hci0", Counts(), sysfs=tmp_path / "bluetooth"))
    assert heard == []
    # No Bluetooth in this kernel: the helper itself says `nomgmt`. With Bluetooth it says why hci0 does not scan.
    assert isinstance(why, NoBluetooth | AdapterGone | NotPowered | NoPermission | Blocked | ScanRefused)
    assert helpers_running() == before
    assert installed_helper().is_file()


@given(st.integers(-128, 127), st.binary(max_size=31))
def test_a_level_is_read_as_the_helper_writes_it_passive_and_active(rssi_dbm, ad):
    byte = rssi_dbm % 256
    for written in (256 - byte, -rssi_dbm % 2**32):
        line = f"rsp=$scan\x1eaddr=b{'0' * 12}\x1etype=h1\x1erssi=h{written:X}\x1eflag=h0\x1ed=b{ad.hex().upper()}"
        assert frame_of(line.encode()) == (ad, rssi_dbm)


@given(st.binary(max_size=200))
def test_no_line_of_a_helper_makes_the_reader_fail(line):
    assert frame_of(line) is None
    fields = fields_of(line)
    assert fields is None or fields["rsp"]


@pytest.mark.parametrize("switch", ["soft", "hard"])
def test_an_adapter_that_rfkill_has_switched_off_is_named(tmp_path, made_frames, switch):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["refuse", ["rsp=$mgmt", "code=$badstate"]]]] * 2)
    rfkill = helper.sysfs / "hci0" / "rfkill0"
    rfkill.mkdir()
    (rfkill / switch).write_text("1\n")
    assert type(listen_once(ear(helper))[1]) is Blocked
    (rfkill / switch).write_text("0\n")
    assert type(listen_once(ear(helper))[1]) is ScanRefused


class Site:
    """A scanner of a whole site on stand-in helpers, that stops where it is told."""

    def __init__(self, *helpers: StandInHelper, reset=None, **times: float) -> None:
        self.told: list[Trouble] = []
        self.resets: list[str] = []
        self.stopped = lambda: False
        counts = Counts()
        self.scanner = RadioScanner(
            [ear(helper, f"hci{n}", counts, **times) for n, helper in enumerate(helpers)],
            counts,
            Clock(),
            sleep=lambda _: self.stopped(),
            on_trouble=self.told.append,
            reset=reset or self.resets.append,
            first_pause_s=0.05,
        )

    def hear_until(self, done, seconds: float = 30.0) -> list:
        heard = []
        give_up = time.monotonic() + seconds
        self.stopped = lambda: done(heard) or time.monotonic() > give_up
        for one in self.scanner:
            heard.append(one)
        assert done(heard), (self.told, len(heard))
        return heard


def frames_in(heard: list) -> list[Advertisement]:
    return [one for one in heard if isinstance(one, Advertisement)]


def test_a_hundred_thousand_frames_over_deaths_stalls_garbage_and_bursts_all_arrive(tmp_path, real_frames):
    lives = [
        [["frames", 20_000], ["garbage", "rsp=$scan\x1eaddr"], ["frames", 5_000], ["die", 139]],
        [["bursts", 15_000, 1_000, 0.01], ["stall"]],
        [["refuse", ["rsp=$mgmt", "code=$busy"]]],
        [["frames", 30_000], ["torn", 1]],
        [["frames", 20_000], ["ended"]],
        [["bursts", 10_000, 60, 0.001]],
    ]
    helper = StandInHelper.make(tmp_path / "h", real_frames, lives)
    site = Site(helper, probe_s=0.3, answer_s=0.3)
    heard = frames_in(site.hear_until(lambda heard: helper.sent == 100_000 and len(frames_in(heard)) >= 100_000))
    parsed = [found for ad, _ in expected(real_frames, len(real_frames)) if (found := read(ad))]
    assert [(a.identifier, a.rssi_dbm) for a in heard] == [
        (parsed[n % len(parsed)].identifier, real_frames[n % len(parsed)]["rssi"]) for n in range(100_000)
    ]
    assert site.scanner.counts.malformed == 1
    kinds = [(t.error, t.over) for t in site.told]
    ended = ["HelperDied", "HelperStalled", "ScanRefused", "HelperDied", "ScanEnded"]
    assert [kind for kind, over in kinds if not over] == ended
    # What another trouble follows at once was not over: it is told once, as the other.
    assert [kind for kind, over in kinds if over] == ["HelperDied", "ScanRefused", "HelperDied", "ScanEnded"]
    assert children_left(helper.pids) == []


def test_while_the_adapter_is_away_there_are_no_heartbeats_and_both_ends_are_told_once(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["frames", 4], ["quiet", 60]], [["frames", 4]]])
    site = Site(helper, probe_s=0.1)
    unplugged_at: list[float] = []

    def done(heard) -> bool:
        if len(frames_in(heard)) == 4 and not unplugged_at:
            helper.unplug("hci0")
            unplugged_at.append(time.monotonic())
        if unplugged_at and time.monotonic() - unplugged_at[0] > 1.5:
            helper.plug_in("hci0")
        return len(frames_in(heard)) == 8

    heard = site.hear_until(done)
    assert [type(one) for one in heard] == [Heartbeat, *[Advertisement] * 4, Heartbeat, *[Advertisement] * 4]
    assert heard[5].at_s - heard[4].heard_at_s > 1.4
    assert [(t.adapter, t.error, t.over) for t in site.told] == [
        ("hci0", "AdapterGone", False),
        ("hci0", "AdapterGone", True),
    ]


def test_an_empty_room_has_heartbeats_as_long_as_new_scans_are_granted(tmp_path, made_frames, monkeypatch):
    monkeypatch.setattr("edge.sensing.scanners.radio.HEARTBEAT_S", 0.5)
    helper = StandInHelper.make(tmp_path / "h", made_frames, [])
    heard = Site(helper, probe_s=0.1, renew_s=0.5).hear_until(lambda heard: len(heard) == 4)
    beats = [one.at_s for one in heard if isinstance(one, Heartbeat)]
    assert len(beats) == 4
    assert all(0.5 <= b - a < 1.5 for a, b in pairwise(beats))
    assert len(helper.pids) >= 4


def test_two_adapters_are_two_receivers_of_one_stream_in_the_order_of_time(tmp_path, made_frames):
    one = StandInHelper.make(tmp_path / "h0", made_frames, [[["bursts", 300, 10, 0.01]]])
    two = StandInHelper.make(tmp_path / "h1", made_frames, [[["bursts", 300, 7, 0.01]]])
    two.plug_in("hci1")
    site = Site(one, two)
    heard = frames_in(site.hear_until(lambda heard: len(frames_in(heard)) == 600))
    assert Counter(a.receiver for a in heard) == {0: 300, 1: 300}
    times = [a.heard_at_s for a in heard]
    assert times == sorted(times)
    assert any(a.receiver > b.receiver for a, b in pairwise(heard))


def test_one_adapter_that_is_away_leaves_the_other_one_listening(tmp_path, made_frames):
    there = StandInHelper.make(tmp_path / "h0", made_frames, [[["bursts", 100, 10, 0.05]]])
    away = StandInHelper.make(tmp_path / "h1", made_frames, [])
    site = Site(there, away)
    heard = site.hear_until(lambda heard: len(frames_in(heard)) == 100)
    assert [t.error for t in site.told] == ["AdapterGone"]
    assert isinstance(heard[0], Heartbeat)


def test_an_adapter_that_fails_again_and_again_is_reset_once_a_minute_at_most(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [[["die", 1]]] * 7)
    site = Site(helper)
    site.hear_until(lambda _: len(helper.pids) >= 6)
    assert site.resets == ["hci0"]


def test_a_reset_that_fails_is_told_and_listening_goes_on(tmp_path, made_frames):
    helper = StandInHelper.make(tmp_path / "h", made_frames, [*[[["die", 1]]] * 4, [["frames", 3]]])

    def cannot(_: str) -> None:
        raise FileNotFoundError("busctl")

    site = Site(helper, reset=cannot)
    site.hear_until(lambda heard: len(frames_in(heard)) == 3)
    assert "ResetFailed" in [t.error for t in site.told]
