"""Ctrl-C during the demo."""

import os
import signal
import time
from contextlib import suppress

import pytest

from simulations.demo.interrupt import ctrl_c_is_heard


def press():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
    raise AssertionError("nothing came of it")


def dropping():
    with suppress(KeyboardInterrupt):  # as a library that is not Python does
        press()
    time.sleep(5)
    raise AssertionError("it was never raised again")


def cleaning(cleaned, *, fails):
    try:
        press()
    finally:
        try:
            if fails:
                raise OSError("a process is gone already")
        except OSError:
            time.sleep(0.2)
        time.sleep(0.2)
        cleaned.append("all")


def test_an_interrupt_that_something_drops_is_raised_again():
    with pytest.raises(KeyboardInterrupt), ctrl_c_is_heard(again_s=0.05):
        dropping()


@pytest.mark.parametrize("fails", [False, True])
def test_what_cleans_up_behind_an_interrupt_is_left_to_end(fails):
    cleaned = []
    with pytest.raises(KeyboardInterrupt), ctrl_c_is_heard(again_s=0.05):
        cleaning(cleaned, fails=fails)
    assert cleaned == ["all"]


def test_handlers_are_as_they_were_and_nothing_is_raised_later():
    earlier = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyboardInterrupt), ctrl_c_is_heard(again_s=0.05):
        press()
    time.sleep(0.2)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)) == earlier
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
