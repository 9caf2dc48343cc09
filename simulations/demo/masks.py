"""Whether the leader, with all its keys, could read any single node's update."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cryptography.exceptions import InvalidTag

from privacy.boundary import topics
from privacy.boundary.arrays import array_view, arrays_of, unpack
from privacy.boundary.assignment import assignment_of
from privacy.boundary.blob import open_blob
from privacy.boundary.envelope import Envelope
from privacy.boundary.flower import config_records, message_of
from privacy.boundary.messages import Encoding, Kind, Reply, Task
from privacy.identity.authority import Identity
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import SealedSeed
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed
from privacy.secure_sum.terms import SHARE, TERMS, SumTerms
from simulations.demo.verdict import Check
from simulations.eavesdropper import Recording

STRAY = 6.0
"""Uniform bits are all set equally often; a share whose bits stray by more standard deviations than this is not
uniform. Chance alone: below 1 in 10^8 a bit."""


def mask_check(recording: Recording, leader: Identity, helper: Identity, nodes: dict[str, Identity]) -> Check:
    """Open every reply with the leader's keys, and look at what is there.

    Args:
        helper: shows that the seeds are whole, which the leader is to be unable to open.
        nodes: by party; opens their tasks, to know what each seed is for.
    """
    shares = clear = opened = whole = 0
    bits: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
    purposes = _purposes(recording, nodes)
    for envelope in _envelopes(recording, Kind.REPLY):
        header, body = envelope.header, envelope.open(leader.keys)
        if not isinstance(body, Reply) or body.refusal is not None:
            continue
        message = message_of(body.flower)
        purpose = purposes.get(header.reply_to or b"")
        if body.seed is None or purpose is None or set(message.content) != {SHARE, TERMS}:
            clear += 1
            continue
        unpack(message, body.arrays, body.sizes, body.encoding, {})
        shares += 1
        bits += [array_view(array).view(np.uint8) for array in arrays_of(message).values()]
        whole += _opens(helper, nodes[header.sender], purpose, body.seed)
        opened += _opens(leader, nodes[header.sender], purpose, body.seed)
    stray = _stray(np.concatenate(bits)) if bits else 0.0
    held = shares > 0 and not clear and not opened and whole == shares and stray < STRAY
    return Check(
        "the leader could read no single node's update",
        held,
        f"{shares} replies opened with the leader's keys: {shares} masked shares, {clear} in the clear; bits of the "
        f"shares stray {stray:.1f} standard deviations from a coin's; of the seeds the helper can open {whole}, the "
        f"leader {opened}",
    )


def _purposes(recording: Recording, nodes: dict[str, Identity]) -> dict[bytes, Purpose]:
    """What the seed of the answer to each task is for, by the task's message id."""
    blobs = {
        address.owner: capture.payload
        for capture in recording
        if capture.payload and (address := topics.parse(capture.topic)) and address.kind is Kind.BLOB
    }
    found: dict[bytes, Purpose] = {}
    for envelope in _envelopes(recording, Kind.TASK):
        header = envelope.header
        task = envelope.open(nodes[header.recipient].keys) if header.recipient in nodes else None
        if not isinstance(task, Task):
            continue
        message = message_of(task.flower)
        record = config_records(message.content).get(TERMS)
        if record is None:
            continue
        if task.arrays is not None:
            joined = open_blob(blobs[task.arrays.digest.hex()], task.arrays)
            unpack(message, joined, task.arrays.sizes, Encoding.EXACT, {})
        terms = SumTerms.of(record)
        at = SumName(header.federation, header.run_id, terms.round_number, terms.part)
        found[header.message_id] = Purpose(at, assignment_of(message), terms.draw.nonce)
    return found


def _envelopes(recording: Recording, kind: Kind) -> Iterator[Envelope]:
    for capture in recording:
        address = topics.parse(capture.topic)
        if capture.payload and address is not None and address.kind is kind:
            yield Envelope.parse(capture.payload)


def _opens(party: Identity, node: Identity, purpose: Purpose, seed: SealedSeed) -> bool:
    try:
        return bool(open_seed(party.keys, node.certificate, purpose, seed))
    except (BadSeed, InvalidTag):
        return False


def _stray(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> float:
    """By how many standard deviations the commonest bit differs from a fair coin."""
    each = np.unpackbits(data.reshape(-1, 1), axis=1)
    return float(np.abs(each.mean(0) - 0.5).max() * 2 * np.sqrt(len(data)))
