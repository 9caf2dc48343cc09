"""Curious parties, each with all that is its own: which of two updates did a node send?

The node's update is A or B, at random, and known to the attacker but for which. Without protection the leader sees the
update itself, the helper is given the leader's half as well, and the broker carries what is not sealed.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from aggregator.strategies.secure_sum import SecureSum, SumSettings
from aggregator.strategies.streaming import Streaming
from privacy.boundary.arrays import array_view, pack
from privacy.boundary.assignment import assignment_of
from privacy.boundary.envelope import wrap
from privacy.boundary.flower import CENTRE, array_records, config_records, enter_run, set_message_id
from privacy.boundary.messages import Encoding, Header, Kind, Reply
from privacy.identity.authority import Identity
from privacy.identity.certificates import Role
from privacy.secure_sum.exchange import Part, SealedSeed
from privacy.secure_sum.mask import add_mask
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed
from privacy.secure_sum.terms import ELEMENTS, SEED, SHARE, TERMS, SumTerms
from simulations.attacks.finding import Finding, advantage, advantage_interval, chance
from simulations.summed import FIRST_NODE, SummedFederation

SIZE = 64
SETTINGS = SumSettings("helper", bound=4.0)
CODE = SETTINGS.plan(3).code
Vector = NDArray[np.float64]


class Nodes:
    """What strategies ask of a grid when they choose nodes."""

    def __init__(self, count: int) -> None:
        self._count = count

    def get_node_ids(self) -> list[int]:
        return list(range(FIRST_NODE, FIRST_NODE + self._count))


def parties(seed: int, tries: int, folder: Path) -> list[Finding]:
    """Leader, helper and broker."""
    random = np.random.default_rng(seed)
    a, b = random.normal(0, 0.5, SIZE), random.normal(0, 0.5, SIZE)
    right: dict[str, int] = dict.fromkeys(("clear", "leader", "helper", "both", "wire", "broker", "sizes"), 0)
    federation = SummedFederation(folder, 3, 3)
    leader = federation.authority.enrol("leader", Role.LEADER)
    node = federation.nodes[FIRST_NODE]
    for number in range(1, tries + 1):
        secret = secrets.randbelow(2)
        sent = (a, b)[secret]
        share, sealed_seed, purpose = _sent(federation, sent, number)
        mask = np.zeros(SIZE, np.uint32)
        add_mask(open_seed(federation.helper.keys, node.certificate, purpose, sealed_seed), mask)
        payload = _reply(sent)
        header = Header(Kind.REPLY, "summed", node.party, "leader", 7, b"m" * 16, b"t" * 16, time.time(), 2e9, True)
        sealed = bytes(wrap(node, header, payload, leader.certificate))
        for who, seen in (
            ("clear", CODE.decode(CODE.encode(sent).elements)),
            ("leader", CODE.decode(_unmasked(share, leader, node, purpose, sealed_seed))),
            ("helper", CODE.decode(mask)),
            ("both", CODE.decode(share + mask)),
        ):
            right[who] += _nearest(seen, a, b) == secret
        right["wire"] += _found(bytes(payload.arrays), a, b) == secret
        right["broker"] += _found(sealed, a, b) == secret
        right["sizes"] += (len(sealed) > len(bytes(wrap(node, header, _reply(a), leader.certificate)))) == secret
    federation.close()

    def row(attack: str, saw: str, clear: str, seen: str, note: str = "") -> Finding:
        gains = [advantage(right[who], tries) for who in (clear, seen)]
        intervals = [advantage_interval(right[who], tries) for who in (clear, seen)]
        return Finding(attack, saw, gains[0], gains[1], chance(tries), note, intervals[0], intervals[1])

    return [
        row("curious leader", "a masked share, the sealed seed, all its keys", "clear", "leader"),
        row("curious helper", "the seed, all its keys", "both", "helper"),
        row("curious broker, contents", "the payload", "wire", "broker"),
        row(
            "curious broker, sizes",
            "lengths of payloads",
            "wire",
            "sizes",
            "who is online, when and how much is sent stays visible",
        ),
    ]


def _sent(federation: SummedFederation, update: Vector, number: int) -> tuple[NDArray[np.uint32], SealedSeed, Purpose]:
    """What a real node's mod makes of an update: the leader's share, and the sealed seed with what it is for."""
    enter_run(1, CENTRE)
    strategy = SecureSum(Streaming(FedAvg()), SETTINGS, federation)
    start = ArrayRecord({"w": Array(np.zeros(SIZE, np.float32))})
    tasks = strategy.configure_train(number, start, ConfigRecord(), Nodes(3))  # type: ignore[arg-type]
    task = next(one for one in tasks if one.metadata.dst_node_id == FIRST_NODE)
    set_message_id(task, f"{number:032x}")
    purpose = Purpose(
        federation.sum_name(number, Part.TRAIN),
        assignment_of(task),
        SumTerms.of(config_records(task.content)[TERMS]).draw.nonce,
    )

    def app(message: Message, _context: Context) -> Message:
        arrays = ArrayRecord({"w": Array(update.astype(np.float32))})
        return Message(RecordDict({"a": arrays, "m": MetricRecord({"num-examples": 1.0})}), reply_to=message)

    content = federation.answer(task, app).content
    elements: NDArray[np.uint32] = array_view(array_records(content)[SHARE][ELEMENTS]).copy()
    seed = msgspec.msgpack.decode(msgspec.convert(config_records(content)[TERMS][SEED], bytes), type=SealedSeed)
    return elements, seed, purpose


def _unmasked(
    share: NDArray[np.uint32], attacker: Identity, node: Identity, purpose: Purpose, seed: SealedSeed
) -> NDArray[np.uint32]:
    """The share, and without its mask where the attacker's keys open the seed."""
    opened = share.copy()
    try:
        add_mask(open_seed(attacker.keys, node.certificate, purpose, seed), opened)
    except BadSeed:
        return share
    return opened


def _reply(update: Vector) -> Reply:
    packed, sizes = pack({("a", "w"): Array(update.astype(np.float32))}, Encoding.EXACT, {})
    return Reply(memoryview(b"head"), memoryview(packed), sizes, Encoding.EXACT)


def _nearest(seen: Vector, a: Vector, b: Vector) -> int:
    return int(seen @ (b - a) > (a + b) @ (b - a) / 2)


def _found(payload: bytes, a: Vector, b: Vector) -> int:
    """Which of the two is in the bytes; a guess where neither is."""
    places = [vector.astype(np.float32).tobytes() in payload for vector in (a, b)]
    return int(places[1]) if any(places) else secrets.randbelow(2)
