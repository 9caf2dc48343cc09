"""A stand-in for bluepy-helper where there is no Bluetooth: it speaks the line protocol of bluepy-helper.c (1.3.0).

    python bluepy_helper_double.py FOLDER INDEX

FOLDER holds `frames.jsonl`, real frames with `addr`, `addr_type`, `rssi`, `ad`, sent in turn, and `lives.json`: what
each start does once it scans, in order. A life is a list of acts:

    ["frames", n] ["bursts", n, size, pause_s] ["quiet", s] ["garbage", text] ["stall"] ["die", status]
    ["torn", status] ["ended"] ["refuse", answer]

`stall` stops it from answering, `torn` dies in the middle of a line, `refuse` (first act) answers `pasv` so. After its
acts, and in a life that the file does not have, it is quiet. FOLDER/sent counts the frames that went out, over all
lives; FOLDER/pids has the process of each.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

RS = "\x1e"


def line_of(frame: dict) -> bytes:
    rssi = (256 - frame["rssi"] % 256) if frame["rssi"] >= 0 else -frame["rssi"]
    fields = [
        "rsp=$scan",
        "addr=b" + frame["addr"].replace(":", "").upper(),
        f"type=h{2 if frame['addr_type'] else 1}",
        f"rssi=h{rssi:X}",
        "flag=h0",
    ]
    return (RS.join([*fields, "d=b" + frame["ad"].upper()] if frame["ad"] else fields) + "\n").encode()


class HelperDouble:
    def __init__(self, folder: Path) -> None:
        self.sent = folder / "sent"
        self.lines = [line_of(json.loads(line)) for line in (folder / "frames.jsonl").read_text().splitlines()]
        self.next = int(self.sent.read_text()) if self.sent.exists() else 0
        with (folder / "pids").open("a") as pids:
            pids.write(f"{os.getpid()}\n")
        life = len((folder / "pids").read_text().split()) - 1
        lives = json.loads((folder / "lives.json").read_text())
        self.acts = lives[life] if life < len(lives) else []
        self.stalled = threading.Event()
        self.writing = threading.Lock()
        self.scanning = False

    def say(self, *fields: str) -> None:
        self.write((RS.join(fields) + "\n").encode())

    def write(self, data: bytes) -> None:
        with self.writing:
            while data:
                data = data[os.write(1, data) :]

    def frames(self, count: int) -> None:
        lines = (self.lines[i % len(self.lines)] for i in range(self.next, self.next + count))
        self.write(b"".join(lines))
        self.next += count
        self.sent.write_text(str(self.next))

    def act(self) -> None:
        for name, *args in self.acts:
            if name == "frames":
                for start in range(0, args[0], 500):
                    self.frames(min(500, args[0] - start))
            elif name == "bursts":
                count, size, pause_s = args
                for start in range(0, count, size):
                    self.frames(min(size, count - start))
                    time.sleep(pause_s)
            elif name == "quiet":
                time.sleep(args[0])
            elif name == "garbage":
                self.write(args[0].encode("latin-1") + b"\n")
            elif name == "stall":
                self.stalled.set()
            elif name == "torn":
                self.write(self.lines[0][:40])
                os._exit(args[0])
            elif name == "die":
                os._exit(args[0])
            elif name == "ended":
                self.status("disc")

    def status(self, state: str) -> None:
        self.say("rsp=$stat", f"state=${state}", *(["dst='(null)"] if state == "scan" else []), "mtu=h0", "sec='low")

    def obey(self, command: str) -> None:
        if command == "pasv" and self.acts and self.acts[0][0] == "refuse":
            self.say(*self.acts[0][1])
        elif command == "pasv":
            self.say("rsp=$mgmt", "code=$success")
            self.scanning = True
            self.status("scan")
            threading.Thread(target=self.act, daemon=True).start()
        elif command in ("le on", "pasvend"):
            self.say("rsp=$mgmt", "code=$success")
        elif command == "stat":
            self.status("scan" if self.scanning else "disc")
        else:
            self.say("rsp=$err", "code=$badcmd")


def main() -> None:
    double = HelperDouble(Path(sys.argv[1]))
    double.write(b"# bluepy-helper.c version 1.3.0 built at 00:00:00 on Jan  1 2026\n")
    for line in sys.stdin:
        while double.stalled.is_set():
            time.sleep(60)
        command = line.strip()
        if command == "quit":
            break
        double.obey(command)


if __name__ == "__main__":
    main()
