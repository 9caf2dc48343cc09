"""What the kernel says of processes and of the loopback interface. Linux only, and nothing but files is read."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def loopback_bytes() -> int:
    """Bytes that have crossed the loopback interface since the machine started."""
    for line in (PROC / "net" / "dev").read_text("ascii").splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[0])
    raise LookupError("this machine has no loopback interface `lo`, so its traffic cannot be counted")


def resident_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process at this moment; 0 where it has ended."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int | str = "self") -> int:
    """The most memory a process has had resident since its start, or since `forget_peak`; 0 where it has ended."""
    return _status(pid, "VmHWM")


def forget_peak() -> None:
    """Let this process's peak begin anew at what it has resident now."""
    (PROC / "self" / "clear_refs").write_text("5", "ascii")


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they are alive."""
    found = [pid]
    for parent in found:
        for task in (PROC / str(parent) / "task").glob("*"):
            try:
                found += [int(child) for child in (task / "children").read_text("ascii").split()]
            except OSError:  # the thread, or the whole process, has just ended
                continue
    return found


def _status(pid: int | str, field: str) -> int:
    try:
        lines = (PROC / str(pid) / "status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
