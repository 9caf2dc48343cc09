import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settable_clock import Machine

from edge.sensing.clock import Clock
from edge.store import machine_clock
from edge.store.guesses import boot_id
from edge.store.machine_clock import JUMP_S, kernel_synchronized, synchronized

STEPS = st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e9, 1e9) | st.floats(-3, 3)), max_size=20)


@given(STEPS)
def test_the_offset_follows_the_wall_clock_to_within_what_is_no_jump(steps):
    machine = Machine()
    clock = machine.clock()
    for passed_s, set_by_s in steps:
        machine.monotonic_s += passed_s
        machine.offset_s += set_by_s
        before = clock.offset_s
        assert clock.look() == clock.offset_s - before
        assert abs(clock.offset_s + machine.monotonic_s - machine.wall()) <= JUMP_S + 1e-6


@given(st.floats(-1e9, 1e9).filter(lambda by_s: abs(by_s) > JUMP_S + 0.01))
def test_a_jump_is_told_once_with_its_size(by_s):
    machine = Machine()
    clock = machine.clock()
    machine.monotonic_s += 5
    assert clock.look() == 0
    machine.offset_s += by_s
    assert clock.look() == pytest.approx(by_s, abs=1e-6)
    assert clock.look() == 0


def test_time_that_passes_is_no_jump():
    machine = Machine()
    clock = machine.clock()
    for _ in range(1000):
        machine.monotonic_s += 3600
        assert clock.look() == 0


def test_small_steps_that_add_up_are_a_jump_in_the_end():
    machine = Machine()
    clock = machine.clock()
    jumps = []
    for _ in range(5):
        machine.offset_s += 0.9
        jumps.append(clock.look())
    assert jumps == [0, 0, pytest.approx(2.7), 0, 0]


def test_trust_comes_with_the_synchronization_and_stays():
    machine = Machine(synchronized=False)
    clock = machine.clock()
    assert not clock.reading.trusted
    machine.offset_s += 1e6
    machine.synchronized = True
    assert clock.look() == pytest.approx(1e6)
    assert clock.reading.trusted
    # The kernel forgets it some hours after the network is gone; the clock has not become wrong by that.
    machine.synchronized = False
    clock.look()
    assert clock.reading.trusted


def test_a_clock_set_by_hand_is_not_trusted():
    machine = Machine(synchronized=False)
    clock = machine.clock()
    machine.offset_s += 1e6
    assert clock.look() == pytest.approx(1e6)
    assert not clock.reading.trusted


def test_the_mark_of_timesyncd_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_clock, "TIMESYNCD_MARK", tmp_path / "synchronized")
    assert synchronized() == kernel_synchronized()
    (tmp_path / "synchronized").touch()
    assert synchronized()


def test_the_real_clock_tells_the_real_time():
    clock = Clock()
    assert clock.look() == 0
    assert clock.offset_s + time.monotonic() == pytest.approx(time.time(), abs=0.1)
    assert clock.reading.boot == boot_id() == boot_id()
    assert clock.reading.trusted == synchronized()
