"""Reading NIST's recordings: what is in them, and what is said where they are not there."""

import pytest

from simulations.datasets.nist import DEVICES, DISTANCES_CM, BadNist, load_nist


@pytest.fixture
def nist(shared_data):
    return shared_data / "nist_rpi"


def write(folder, rows="1.5,-60\n0.5,-4294967234\n1.0,-61\n", head="Timestamp,RSSI\n"):
    for device in DEVICES:
        for cm in DISTANCES_CM:
            (folder / f"ContactTracingData_{cm}cm_Device_{device}.csv").write_text(head + rows)


def test_the_real_recordings_have_as_many_valid_frames_as_were_counted(nist):
    stretches = load_nist(nist)
    assert [(s.device, round(100 * s.distance_m)) for s in stretches] == [
        (d, cm) for d in DEVICES for cm in DISTANCES_CM
    ]
    assert sum(map(len, stretches)) == 17_490


def test_what_the_driver_misread_is_left_out_and_frames_are_in_order(tmp_path):
    write(tmp_path)
    stretch = load_nist(tmp_path)[0]
    assert stretch.at_s.tolist() == [1.0, 1.5]
    assert stretch.rssi_dbm.tolist() == [-61, -60]


def test_a_missing_recording_is_named_with_its_source(tmp_path):
    with pytest.raises(BadNist, match=r"_50cm_Device_A\.csv.*ececli"):
        load_nist(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"head": "Timestamp,Level\n"}, "no column RSSI"),
        ({"rows": "1.0,-60\nnoon,-60\n"}, "line 3"),
        ({"rows": "1.0\n"}, "line 2"),
        ({"rows": "1.0,-4294967234\n"}, "no valid frame"),
        ({"rows": ""}, "no valid frame"),
    ],
)
def test_a_file_that_is_no_recording_is_named(tmp_path, wrong, named):
    write(tmp_path, **wrong)
    with pytest.raises(BadNist, match=rf"Device_A\.csv.*{named}"):
        load_nist(tmp_path)
