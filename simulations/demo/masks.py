"""Whether the leader, with all its keys, could read any single node's update."""

from __future__ import annotations

import numpy as np
from cryptography.exceptions import InvalidTag

from privacy.boundary import topics
from privacy.boundary.arrays import array_view, arrays_of, unpack
from privacy.boundary.envelope import Envelope
from privacy.boundary.flower import config_records, message_of
from privacy.boundary.messages import Kind, Reply
from privacy.identity.authority import Identity
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed
from privacy.secure_sum.terms import SHARE, TERMS, SumTerms
from simulations.demo.verdict import Check
from simulations.eavesdropper import Recording

STRAY = 6.0
"""Uniform bits are all set equally often; a share whose bits stray by more standard deviations than this is not
uniform. Chance alone: below 1 in 10^8 a bit."""


def mask_check(recording: Recording, leader: Identity, nodes: dict[str, Identity]) -> Check:
    """Open every reply with the leader's keys, and look at what is there.

    Args:
        nodes: by party, to check that a seed is the node's own, and that the leader cannot open it.
    """
    shares = clear = opened = 0
    bits: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
    tasks: dict[bytes, SumTerms] = {}
    for capture in recording:
        address = topics.parse(capture.topic)
        if not capture.payload or address is None or address.kind not in (Kind.TASK, Kind.REPLY):
            continue
        envelope = Envelope.parse(capture.payload)
        if address.kind is Kind.TASK:
            node = nodes.get(envelope.header.recipient)
            task = envelope.open(node.keys) if node is not None else None
            if task is not None and hasattr(task, "flower"):
                record = config_records(message_of(task.flower).content).get(TERMS)
                if record is not None:
                    tasks[envelope.header.message_id] = SumTerms.of(record)
            continue
        body = envelope.open(leader.keys)
        if not isinstance(body, Reply) or body.refusal is not None:
            continue
        message = message_of(body.flower)
        terms = tasks.get(envelope.header.reply_to or b"")
        if body.seed is None or terms is None or set(message.content) != {SHARE, TERMS}:
            clear += 1
            continue
        unpack(message, body.arrays, body.sizes, body.encoding, {})
        shares += 1
        bits += [array_view(array).view(np.uint8) for array in arrays_of(message).values()]
        header = envelope.header
        purpose = Purpose(header.federation, header.run_id, terms.round_number, terms.part)
        try:
            open_seed(leader.keys, nodes[header.sender].certificate, purpose, body.seed)
            opened += 1
        except (BadSeed, InvalidTag):
            continue
    stray = _stray(np.concatenate(bits)) if bits else 0.0
    held = shares > 0 and not clear and not opened and stray < STRAY
    return Check(
        "the leader could read no single node's update",
        held,
        f"{shares} replies opened with the leader's keys: {shares} masked shares, {clear} in the clear; bits of the "
        f"shares stray {stray:.1f} standard deviations from a coin's; {opened} seeds could be opened without a helper",
    )


def _stray(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> float:
    """By how many standard deviations the commonest bit differs from a fair coin."""
    each = np.unpackbits(data.reshape(-1, 1), axis=1)
    return float(np.abs(each.mean(0) - 0.5).max() * 2 * np.sqrt(len(data)))
