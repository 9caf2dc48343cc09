"""The sensing process on a stand-in for bluepy-helper: what it tells, what it needs, and how it ends."""

import time
from pathlib import Path

import pytest
from helper_doubles import StandInHelper, children_left, made, recorded
from sensing_process import sensing
from waiting import wait_until

pytestmark = pytest.mark.system


def told(helper: StandInHelper) -> dict:
    return {"kind": "bluepy", "helper": str(helper.executable), "sysfs": str(helper.sysfs)}


def test_a_sensing_process_tells_of_its_adapter_counts_every_frame_and_stays_small(tmp_path, shared_data):
    helper = StandInHelper.make(tmp_path / "h", recorded(shared_data), [[["frames", 20_000], ["quiet", 60]]])
    with sensing(tmp_path, told(helper)) as process:
        process.until("listening")
        wait_until(lambda: helper.sent == 20_000)
        helper.unplug("hci0")
        trouble = process.until("radio_trouble")
        assert (trouble["adapter"], trouble["error"]) == ("hci0", "AdapterGone")
        helper.plug_in("hci0")
        assert process.until("radio_recovered")["adapter"] == "hci0"
        assert process.peak_mb < 45
        started = time.monotonic()
        stopped = process.stop()
        assert time.monotonic() - started < 3
    assert stopped["frames"] == stopped["tokens"] == 20_000
    assert children_left(helper.pids) == []


def test_a_sensing_process_that_has_no_adapter_stops_when_it_is_asked(tmp_path):
    helper = StandInHelper.make(tmp_path / "h", made(), [])
    helper.unplug("hci0")
    with sensing(tmp_path, told(helper)) as process:
        assert "plug it in" in process.until("radio_trouble")["reason"]
        assert process.stop()["frames"] == 0


def test_the_helper_of_a_sensing_process_that_was_killed_ends_too(tmp_path):
    helper = StandInHelper.make(tmp_path / "h", made(), [[["quiet", 60]]])
    with sensing(tmp_path, told(helper)) as process:
        process.until("listening")
        wait_until(lambda: len(helper.pids) == 1)
    wait_until(lambda: not [pid for pid in children_left(helper.pids) if not is_zombie(pid)], 10)


def is_zombie(pid: int) -> bool:
    """The orphan of a killed process waits for init, which in a container may never ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
