"""Tasks like `crowding` whose code does on records what no task should: each is chosen by name."""

import ctypes
import dataclasses
import os
import sys
import time

from edge.learning.tasks.crowding import TASK as CROWDING
from edge.learning.tasks.crowding import Crowding


@dataclasses.dataclass(frozen=True, slots=True)
class Misbehaving(Crowding):
    """Does something with the records before it makes examples of them; without records it behaves."""

    name: str = "misbehaving"

    def examples(self, records):
        if records:
            getattr(self, "_" + self.name)(records)
        return CROWDING.examples(records)

    def _raises(self, records):
        raise ValueError(f"slot {records[0][0]} has {records[0][1]} minutes")

    def _exits(self, records):
        sys.exit(len(records))

    def _dies(self, records):
        os._exit(7)

    def _aborts(self, records):
        os.abort()

    def _crashes(self, records):
        ctypes.string_at(0)

    def _hangs(self, records):
        time.sleep(30)

    def _forks(self, records):
        os.fork()

    def _prints(self, records):
        for stream in (sys.stdout, sys.stderr):
            print(records, file=stream, flush=True)
        os.write(2, repr(records).encode())
        os.write(1, b"\0" * 64)

    def _hoards(self, records):
        hoard = []
        while True:
            hoard.append(bytearray(1 << 24))
            if len(hoard) > 64:  # a gigabyte: raise as an exhausted machine would, and leave this one alone
                raise MemoryError

    def _floods(self, records):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"out of turn")
            except OSError:
                continue


NAMES = ("raises", "exits", "dies", "aborts", "crashes", "hangs", "forks", "prints", "hoards", "floods")
for _name in NAMES:
    globals()[_name.upper()] = Misbehaving(name=_name)
