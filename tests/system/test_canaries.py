"""Canaries in a node's store are in nothing that its processes print or leave, whatever goes wrong.

Real processes run under more than 200 provoked faults, in a folder of their own, with core files allowed by whoever
starts them. What they wrote to standard output and error, and every file that was not there before, is searched for the
canaries: numbers of rows at several precisions, identifiers, a tag's label and secret, a name of staff, the store's key
and the webhook's secret; raw, in hexadecimal digits, in base64, and as Python shows bytes.
"""

import json
import math
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from waiting import wait_until

from edge.learning.protocol import Request, Response, Workplace, read_frame, write_frame
from edge.learning.tasks.task import load_task
from edge.page.passwords import hashed
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import SLOT_S, WINDOW_S
from edge.store.staff import Staff
from edge.store.tags import Tags
from privacy.boundary import flower
from privacy.boundary.arrays import arrays_of, pack
from privacy.boundary.messages import Encoding, Refusal
from simulations.needles import Needles

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1500)]

DOUBLES = Path(__file__).parents[1] / "doubles"
LABEL, STAFF, PASSWORD = "kenari-kuning-07", "kanarisari", "burung kenari di dahan tinggi"
SLOTS = 16
RUN = 2**63 + 9
START = {
    "raise": [
        *("value", "key", "runtime", "own", "group", "cause", "context", "note", "assertion"),
        *("os", "unicode", "refused", "deep", "reply"),
    ],
    "print": [
        "print",
        "print to error",
        "the original error stream",
        "write 1",
        "write 2",
        "printf",
        "logging",
        "a handler",
        "logging an error",
        "structlog",
        "structlog an error",
        "warn",
        "traceback",
        "a thread",
        "an error in __del__",
        "a fork",
        "a program",
        "faulthandler",
        "the profiler",
        "a warning that is an error",
    ],
}
ENDS = [
    "abort",
    "segv",
    "kill",
    "bus",
    "quit",
    "illegal",
    "exit with a record",
    "interrupt",
    "memory",
    "fault handler",
    "disk",
    "disk, told",
]
IN_A_NODE = (("raise", "value"), ("print", "write 2"), ("print", "structlog an error"), ("end", "abort"))
CARRIED = ("rows", "tensor", "identifier", "label", "staff")
CHILDREN = ("edge.sensing", "edge.page", "edge.tracing", "edge.room", "edge.page.spending")

PLANS = [
    *({"learning-rate": x} for x in (1e39, 1e300, -1.0, 0.0, float("nan"), float("inf"), "fast", 1e-320)),
    {"clip-norm": 7e-46},
    {"clip-norm": 0.0},
    {"noise-multiplier": float("nan")},
    {"noise-multiplier": 1e-300},
    {"sampling-rate": 2.0},
    {"lot-size": -1},
    {"steps": 0},
    {"task": "none"},
    {"task": ""},
]


class Site:
    """A folder with a store full of canaries, and all that processes write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = secrets.token_bytes(32)
        self.database = Database(folder / "node.db", self.key)
        self.tag, self.hook = secrets.token_bytes(32), secrets.token_hex(24)
        self.identifiers = [secrets.token_bytes(16) for _ in range(900)]
        connection = self.database.connect()
        Tags(connection).add(LABEL, 0.0, self.tag)
        Staff(connection).add(STAFF, hashed(PASSWORD), 0.0)
        first = int(time.time() // 86400 - 2) * 86400 // SLOT_S + 16
        rows = []
        for slot in range(SLOTS):
            windows = SLOT_S // WINDOW_S
            rows += [
                Sighting(identifier, (first + slot) * windows + n % windows, 2, -110, 6100, -60, -50)
                for n, identifier in enumerate(self.identifiers[: 437 + 6 * slot])
            ]
        with transaction(connection):
            Sightings(connection).add(rows, time.time())
            Listening(connection).add(first * SLOT_S, (first + SLOTS) * SLOT_S, time.time())
        self.minutes = [minutes for _, minutes in load_task("crowding").read(connection, -math.inf, math.inf)]
        connection.close()
        assert len(self.minutes) == SLOTS
        self.output = folder / "output"
        self.output.mkdir()
        self.work = folder / "work"
        self.work.mkdir()
        self.before = {path.name for path in folder.iterdir()}

    def start(self, module: str, name: str) -> subprocess.Popen[bytes]:
        """A process of the node whose starter allows core files."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(DOUBLES), *sys.path]),
            "HOME": str(self.work),
            "TMPDIR": str(self.work),
            "FLWR_TELEMETRY_ENABLED": "0",
        }

        def allow_core_files() -> None:
            most = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (most, most))

        with (self.output / f"{len(list(self.output.iterdir()))} {name.replace('/', '_')[:60]}").open("wb") as error:
            return subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=self.work,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=error,
                preexec_fn=allow_core_files,  # noqa: PLW1509
            )

    def settings(self, module: str) -> dict:
        common = {"database": str(self.database.path), "key": self.key.hex()}
        more = {
            "edge.sensing": {
                "scanner": {"kind": "generator", "devices": 20, "frames_per_s": 500.0, "from_s": 1e9, "seconds": 60.0},
            },
            "edge.page": {"site": "a site", "listen": "127.0.0.1:0"},
            "edge.page.spending": {"site": "a site", "listen": "127.0.0.1:0"},
            "edge.room": {
                "credentials": str(self.work / "credentials"),
                "listen": "127.0.0.1:0",
                "receivers": {"node-1": 1},
            },
            "edge.tracing": {
                "region": "ID-JK",
                "authority_pem": "none",
                "authority_key_id": "510",
                "authority_key_version": "v1",
                "mode": "zone",
                "room": "kelas",
                "wearer": LABEL,
                "receivers": [],
                "adjacent": [],
                "adapters": [],
                "tx_power_dbm": -24.0,
                "attenuation_db": [55.0, 63.0, 73.0],
                "weights": [1.0, 1.0, 0.5, 0.0],
                "infectiousness": [0.3, 1.0],
                "alert_minutes": 15.0,
                "webhook": {"url": "http://127.0.0.1:9/", "secret": self.hook.encode().hex(), "authority": None},
            },
        }
        return common | more[module]

    def said(self, module: str, line: bytes, name: str, *, kill: int | None = None) -> int:
        """Run a child on one line of settings to its end, or kill it when it has begun; what it printed is kept."""
        process = self.start(module, name)
        try:
            process.stdin.write(line)
            process.stdin.close()
        except BrokenPipeError:
            pass
        overdue = threading.Timer(8, process.terminate)  # where the settings are good enough to go on for ever
        overdue.start()
        if kill is not None:
            self.keep(name, process.stdout.readline())
            process.send_signal(kill)
        printed = process.stdout.read()
        if module != "edge.page.spending":  # its figure goes to the page
            self.keep(name, printed)
        code = process.wait(40)
        overdue.cancel()
        process.stdout.close()
        return code

    def keep(self, name: str, printed: bytes) -> None:
        """What a process told its node, as far as the node logs it."""
        from edge.child import Child

        heard = printed.splitlines()
        child = Child(name, "none", None)
        with (self.output / "node").open("a") as log:
            for line in heard:
                event = json.loads(line)
                log.write(json.dumps(node_logs(child, event)) + "\n")

    def found(self) -> dict[str, set[str]]:
        """Canaries, by the place that holds them."""
        places = [path for path in self.folder.rglob("*") if path.is_file()]
        own = {path for path in places if path.parent == self.folder and path.name in self.before}
        own |= {path for path in places if path.parent == self.folder and path.name.startswith("node.db")}
        return {
            str(path.relative_to(self.folder)): kinds
            for path in places
            if path not in own and (kinds := self.in_bytes(path.read_bytes()))
        }

    def in_bytes(self, data: bytes) -> set[str]:
        parts = {
            "key": [self.key[at : at + 8] for at in range(25)],
            "tag": [self.tag[at : at + 8] for at in range(25)],
            "hook": [self.hook.encode()[at : at + 12] for at in range(0, 24, 4)],
            "identifier": self.identifiers,
            "label": [LABEL.encode(), STAFF.encode(), PASSWORD.encode()],
        }
        found = {name for name, needles in parts.items() if Needles(needles).search(data, unpack=False)}
        shown = {name: [repr(n)[2:-1].encode() for n in needles] for name, needles in parts.items()}
        found |= {f"{name} as shown" for name, needles in shown.items() if any(n in data for n in needles)}
        figures = {form.format(m).encode() for m in self.minutes for form in ("{:.3f}", "{:.4f}", "{!r:.7}")}
        return found | ({"minutes"} if any(figure in data for figure in figures if figure[-2:] != b".0") else set())


def node_logs(child, event: dict) -> object:
    """What the node's own log gets of an event."""
    from structlog.testing import capture_logs

    with capture_logs() as lines:
        child._heed(event)
    return lines


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


class Trainer:
    """A real trainer and one end of its pipe."""

    def __init__(self, site: Site, app: str, name: str) -> None:
        self.site, self.name = site, name
        self.process = site.start("edge.learning", name)
        day = 86400.0
        place = Workplace(
            str(site.database.path), site.database.key, 7, app, 1e6, 1e-6, 14 * day, 1, {"folder": str(site.work)}
        )
        write_frame(self.process.stdin, place)

    def ask(self, config: dict, arrays: dict | None = None) -> Response | None:
        """One task; None if the trainer ended instead of answering."""
        flower.enter_run(RUN, flower.CENTRE)
        model = {"w": np.zeros(4, np.float32)} if arrays is None else arrays
        records = {"arrays": ArrayRecord({k: Array(v) for k, v in model.items()}), "config": ConfigRecord(config)}
        message = Message(RecordDict(records), dst_node_id=7, message_type="train")
        flower.set_message_id(message, secrets.token_hex(16))
        packed, sizes = pack(arrays_of(message), Encoding.EXACT, {})
        try:
            write_frame(
                self.process.stdin, Request(memoryview(flower.head_of(message)), sizes, Encoding.EXACT, None), packed
            )
        except BrokenPipeError:
            return None
        answer = read_frame(self.process.stdout, Response)
        return None if answer is None else answer[0]

    def close(self) -> int:
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(30)


def clean(site: Site) -> None:
    found = site.found()
    assert found == {}, found


def test_the_search_finds_the_canaries_in_every_way_they_are_written(site):
    import base64

    import torch

    key, minutes = site.key, site.minutes[3]
    torch.set_printoptions(precision=4, sci_mode=False)
    for said in (
        key,
        key.hex().encode(),
        base64.b64encode(b"x" + key),
        repr(key).encode(),
        repr({"key": key[:16]}).encode(),
        site.tag.hex().upper().encode(),
        site.identifiers[7],
        f"{minutes!r}".encode(),
        f"{minutes:.4f}".encode(),
        repr(torch.tensor([minutes, minutes])).encode(),
        LABEL.encode(),
        STAFF.encode(),
        site.hook.encode(),
    ):
        assert site.in_bytes(b"before " + said + b" after"), said
    assert not site.in_bytes(b"nothing of interest happened at 2026-11-25T12:00:00.000000Z")


def test_a_task_of_another_package_can_print_and_raise_nothing_out_of_the_trainer(site):
    trainer = Trainer(site, "canary_app:app_for", "app")
    details = set()
    for kind, faults in START.items():
        for fault in faults:
            for carries in CARRIED if kind == "raise" else CARRIED[:3]:
                response = trainer.ask({"kind": kind, "fault": fault, "carries": carries})
                if response is None:
                    trainer.close()
                    trainer = Trainer(site, "canary_app:app_for", f"app after {fault}")
                elif response.refusal is not Refusal.NOT_SUMMABLE:  # its detail stays out of the node's log
                    details.add(response.detail)
    assert trainer.close() == 0
    clean(site)
    assert not site.in_bytes("\n".join(details).encode())


@pytest.mark.parametrize("fault", ENDS)
def test_a_trainer_that_dies_leaves_nothing(site, fault):
    trainer = Trainer(site, "canary_app:app_for", fault)
    response = trainer.ask({"kind": "end", "fault": fault, "carries": "rows"})
    assert response is None or response.refusal is not None
    trainer.close()
    clean(site)


def odd_models() -> list[dict]:
    good = {k: v.numpy() for k, v in load_task("crowding").model().state_dict().items()}
    first = next(iter(good))
    odd = [{k: np.full_like(v, x) for k, v in good.items()} for x in (np.nan, np.inf, 3e38, 1e-45, -3e38)]
    odd += [good | {first: np.zeros((1, 1), np.float32)}, {first: good[first]}, {}, good | {"more": np.ones(3)}]
    odd += [{k: v.astype(np.float64) for k, v in good.items()}, {k: v.astype(np.int8) for k, v in good.items()}]
    return odd


def test_models_and_plans_that_do_not_fit_leave_nothing(site):
    trainer = Trainer(site, "edge.learning.app:app_for", "own app")
    good = {k: v.numpy() for k, v in load_task("crowding").model().state_dict().items()}
    plan = {"task": "crowding", "noise-multiplier": 5.0, "metrics-noise-multiplier": 10.0}
    for model in odd_models():
        trainer.ask(plan, model)
    for changes in PLANS:
        if trainer.ask(plan | changes, good) is None:
            trainer.close()
            trainer = Trainer(site, "edge.learning.app:app_for", f"own app after {changes}")
    trainer.close()
    clean(site)


@pytest.mark.parametrize("app", ["no_such_module:app", "canary_app:none", "canary_app", "canary_app:CARRIED", ""])
def test_an_app_that_cannot_be_loaded_leaves_nothing(site, app):
    trainer = Trainer(site, app, f"app {app}")
    assert trainer.ask({"kind": "print", "fault": "print", "carries": "rows"}) is None
    assert trainer.close() != 0
    clean(site)


@pytest.mark.parametrize(
    "frame",
    [b"", b"\xff" * 16, b"\x00" * 16, b"\x00" * 7 + b"\x05" + b"\x00" * 8 + b"wrong", os.urandom(64)[:8] + bytes(56)],
    ids=["nothing", "endless", "empty", "no message", "random"],
)
def test_a_malformed_frame_leaves_nothing(site, frame):
    trainer = Trainer(site, "canary_app:app_for", "frames")
    try:
        trainer.process.stdin.write(frame)
        trainer.process.stdin.flush()
    except BrokenPipeError:
        pass
    trainer.close()
    clean(site)


def lines(site: Site, module: str) -> dict[str, bytes]:
    good = site.settings(module)
    whole = json.dumps(good).encode()
    return {
        "nothing": b"",
        "a line": b"\n",
        "half": whole[: len(whole) // 2] + b"\n",
        "not JSON": b"{" + whole + b"\n",
        "a list": b"[" + whole + b"]\n",
        "a short key": json.dumps(good | {"key": good["key"][:-2]}).encode() + b"\n",
        "a key that is no number": json.dumps(good | {"key": good["key"][:-2] + "zz"}).encode() + b"\n",
        "a key of bytes": json.dumps(good | {"key": list(site.key)}).encode() + b"\n",
        "a key twice": json.dumps(good | {"key": [good["key"]] * 2}).encode() + b"\n",
        "a field too many": json.dumps(good | {"more": good["key"]}).encode() + b"\n",
        "a wrong database": json.dumps(good | {"database": 5}).encode() + b"\n",
        "another key": json.dumps(good | {"key": secrets.token_hex(32)}).encode() + b"\n",
    }


@pytest.mark.parametrize("module", CHILDREN)
def test_malformed_settings_leave_nothing(site, module):
    for name, line in lines(site, module).items():
        assert site.said(module, line, f"{module} {name}") != 0, name
    clean(site)


@pytest.mark.parametrize("module", ["edge.sensing", "edge.page"])
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL, signal.SIGQUIT])
def test_a_child_that_is_killed_leaves_no_core_file(site, module, number):
    line = json.dumps(site.settings(module)).encode() + b"\n"
    site.said(module, line, f"{module} {number.name}", kill=number)
    clean(site)


@pytest.mark.parametrize("module", [*CHILDREN, "edge.learning"])
@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.95])
def test_a_damaged_store_leaves_nothing(site, tmp_path, module, where):
    whole = site.database.path
    kept = tmp_path / "kept.db"
    for suffix in ("", "-wal", "-shm"):
        whole.with_name(whole.name + suffix).unlink(missing_ok=True) if suffix else shutil.copy(whole, kept)
    with whole.open("r+b") as file:
        file.seek(int(where * whole.stat().st_size))
        file.write(os.urandom(4096))
    try:
        if module == "edge.learning":
            trainer = Trainer(site, "canary_app:app_for", f"damaged {where}")
            trainer.ask({"kind": "raise", "fault": "value", "carries": "rows"})
            trainer.close()
        else:
            line = json.dumps(site.settings(module)).encode() + b"\n"
            site.said(module, line, f"{module} damaged {where}")
        clean(site)
    finally:
        shutil.copy(kept, whole)


def test_nothing_of_it_is_in_the_log_of_a_whole_node(federation):
    """With a broker: a leader whose tasks make an app of another package raise what it read, and print it."""
    federation.start_broker()
    node = federation.node(
        '[learning]\napp = "canary_app:app_for"\n[privacy]\nallow_unaccounted_apps = true\n'
        '[sensing.scanner]\nkind = "generator"\ndevices = 5\nframes_per_s = 50.0\n'
    )
    key = (node.folder / "store.key").read_text()
    store = Database(node.folder / "node.db", bytes.fromhex(key)).connect()
    Tags(store).add(LABEL, 0.0, None)
    Staff(store).add(STAFF, hashed(PASSWORD), 0.0)
    store.close()
    node.start()
    federation.centre.wait_online(node.party)
    for carries in ("label", "staff"):
        for kind, fault in (
            ("raise", "value"),
            ("print", "write 2"),
            ("print", "structlog an error"),
            ("end", "abort"),
        ):
            federation.centre.ask(node.party, {"kind": kind, "fault": fault, "carries": carries})
    wait_until(lambda: node.log().count("task answered") == 8)
    node.stop()
    said = node.log()
    assert LABEL not in said
    assert STAFF not in said
    assert key[:16] not in said
    assert '"stored"' not in said
    assert "Traceback" not in said
