"""A recording gives back what was put in, however often it is asked, and admits when it is not whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.eavesdropper import Capture, EavesdropperFailed, Recording

PROPERTIES = st.dictionaries(st.sampled_from(["ContentType", "UserProperty", "CorrelationData"]), st.binary(max_size=9))
CAPTURES = st.lists(
    st.builds(Capture, st.text(max_size=9), st.binary(max_size=99), st.booleans(), PROPERTIES), max_size=9
)


@given(CAPTURES)
def test_what_is_appended_comes_back_in_order_and_as_often_as_wanted(tmp_path_factory, captures):
    recording = Recording(tmp_path_factory.mktemp("r") / "heard")
    for capture in captures:
        recording.append(capture)
    assert list(recording) == captures
    recording.close()
    assert list(recording) == captures
    assert len(recording) == len(captures)


def test_a_recording_can_be_read_while_it_grows(tmp_path):
    recording = Recording(tmp_path / "heard")
    recording.append(Capture("a", b"1"))
    reading = iter(recording)
    assert next(reading).payload == b"1"
    recording.append(Capture("b", b"2"))
    assert [capture.payload for capture in recording] == [b"1", b"2"]


@pytest.mark.parametrize("missing", [1, 4, 20])
def test_a_recording_that_was_cut_off_says_so(tmp_path, missing):
    recording = Recording(tmp_path / "heard")
    recording.append(Capture("topic", b"payload"))
    recording.close()
    recording.path.write_bytes(recording.path.read_bytes()[:-missing])
    with pytest.raises(EavesdropperFailed, match="ends inside a record"):
        list(recording)


def test_an_older_recording_is_not_written_over(tmp_path):
    Recording(tmp_path / "heard").close()
    with pytest.raises(FileExistsError):
        Recording(tmp_path / "heard")
