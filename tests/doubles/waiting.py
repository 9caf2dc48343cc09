"""Waiting for what no event tells of, as a line in another process's log."""

import threading


def wait_until(condition, timeout_s: float = 60) -> None:
    tick = threading.Event()
    for _ in range(int(timeout_s / 0.05)):
        if condition():
            return
        tick.wait(0.05)
    raise AssertionError(f"not in {timeout_s} s: {condition}")
