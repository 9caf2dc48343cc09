"""A node's books and letter boxes, worked through in the order of a real node, with a death at a chosen step.

python mortal_node.py FOLDER STEP     dies with SIGKILL right after STEP (0: before the first)
"""

import os
import signal
import sys
from pathlib import Path

from edge.store.anchor import Anchor
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.inbox import Inbox
from edge.store.outbox import Outbox
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import Gate
from privacy.boundary.messages import Header, Kind, Reply
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import Use
from privacy.identity.authority import Identity

KEY, TASK = bytes(range(32)), b"t" * 16
BUDGET = Budget(8.0, 1e-6, 14 * 86400.0)
EVENTS = [SampledGaussian(4.0, 1.0, 1)]
USE = Use.of("train", {"sightings": ["frames"]}, [Mechanism.DP_SGD]).encode()
STEPS = ("nothing", "received", "started", "reserved", "trained", "spent", "released", "noted", "published", "sent")
"""What has happened when a node dies `after` it; a release is the gate, the audit log, the inbox and the outbox at
once."""


def work(folder: Path, dies_after: str) -> None:
    def reached(step: str) -> None:
        if step == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)

    reached("nothing")
    store = Database(folder / "node.db", KEY).connect()
    ledger, audit, anchor = PrivacyLedger(store, BUDGET), AuditLog(store), Anchor(folder / "books.anchor")
    anchor.check(store)
    node, leader = Identity.load(folder / "node"), Identity.load(folder / "leader").certificate
    gate = Gate(node, audit, ledger)
    inbox, outbox = Inbox(store), Outbox(store)
    inbox.receive(TASK, 7, b"task", 4e9)
    reached("received")
    if inbox.next(1.0) is not None:
        inbox.start(TASK)
        reached("started")
        entry = ledger.reserve(TASK, USE, EVENTS)
        reached("reserved")
        with (folder / "trained").open("ab") as trained:
            trained.write(b".")
        reached("trained")
        ledger.spend(entry)
        reached("spent")
        header = Header(Kind.TASK, "ours", "leader", node.party, 7, TASK, None, 0.0, 4e9, True)
        with transaction(store):
            released = gate.release(header, Reply(), leader)
            inbox.answer(TASK, released.payload, released.sha256)
            outbox.put("jaga/1/reply/x", None, expires_at=4e9, message_id=TASK)
        reached("released")
    anchor.write(store)
    reached("noted")
    for item in outbox.pending(1.0):
        with (folder / "published").open("ab") as published:
            published.write(bytes(item.payload) + b"\nEND\n")
        reached("published")
        outbox.sent(item.id)
    reached("sent")


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
