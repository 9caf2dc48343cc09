import pytest

from simulations.benchmarks.sensing import mixes, storing, throughput
from simulations.benchmarks.sensing_process import Load, listen


def test_each_mix_is_measured_whole():
    for heard in mixes(5_000).values():
        seconds, sightings = throughput(heard, turns=1)
        assert seconds > 0
        assert 0 < sightings <= len(heard)


def test_a_mix_in_which_every_frame_is_new_makes_a_sighting_of_each():
    heard = mixes(5_000)["all new"]
    assert throughput(heard, turns=1)[1] == len({frame.ad for frame in heard}) == 5_000


def test_sealing_is_a_part_of_storing(tmp_path):
    stored, sealed = storing(tmp_path, rows=500, turns=2)
    assert 0 < sealed < stored


@pytest.mark.system
@pytest.mark.slow
def test_five_thousand_frames_a_second_take_a_tenth_of_a_core_and_less_than_45_mb(tmp_path):
    needs = listen(Load(devices=500, frames_per_s=5_000, seconds=15), tmp_path)
    assert needs.heard >= 5_000 * 60
    # Of the window in which it begins as many as are heard of it: all, unless it ends within a tenth of a second.
    assert 500 * 2 < needs.stored <= 500 * 3
    assert needs.core_share < 0.10
    assert needs.peak_bytes < 45e6
