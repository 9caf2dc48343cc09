"""`jaga-sim bench sum`: what a secure sum costs a node, the wire, the leader and the helper.

On a node splitting a coded update stands beside AES in counter mode over the same bytes, turn by turn: a mask is such a
stream. At the centre the real parts run: shares added up as the leader does, and a helper's desk with its records in
SQLite, whose answer opens every seed and adds up every mask.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import HELPER_PARTY, Certificate, Role, node_party
from privacy.secure_sum.draw import SumName, commitment_of, groups_of, new_secret
from privacy.secure_sum.exchange import DrawRequest, NodeTerms, Part, SealedSeed, SumRequest
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import Purpose, key_digest, seal_seed
from privacy.secure_sum.sums import MaskSum, ShareSum, split
from privacy.secure_sum.vector import Plan, Vector
from simulations.benchmarks.table import Column, Outcome, Target
from simulations.sealed import ASSIGNMENT, share_bytes

OVER_AES, UPLINK, UPLINK_EXTRA = 3.0, 1.02, 2000
MODELS = 8.0
"""Memory of a process above its start, in models of float32; the sum is one of them."""


@dataclass(frozen=True, slots=True)
class SumSize:
    """What is summed.

    Attributes:
        nodes: of the helper's answer and of the leader's sum.
        parameters: float32 of a model.
        turns: of masking and AES.
    """

    nodes: int = 10_000
    parameters: int = 1_000_000
    turns: int = 15


def run_sum(size: SumSize, say: Callable[[str], None]) -> Outcome:
    """Measure everything."""
    say("masking on a node")
    masking, aes = _masking(size)
    uplink = share_bytes(size.parameters)
    rows: list[dict[str, object]] = [
        {"what": "AES-CTR over as many bytes", "seconds": aes, "rate": None, "memory": None, "bytes": None},
        {"what": "masking on a node", "seconds": masking, "rate": None, "memory": None, "bytes": uplink},
    ]
    at_centre = {}
    for who in ("leader", "helper"):
        say(f"{who}: {size.nodes} nodes of {size.parameters} parameters")
        at_centre[who] = _process(who, size)
        rows.append({"what": who, "bytes": None, **at_centre[who]})
    model = 4.0 * size.parameters
    targets = [
        Target("masking over AES-CTR", masking / aes, OVER_AES, "x"),
        Target("bytes of a reply", uplink / 1e6, (UPLINK * model + UPLINK_EXTRA) / 1e6, "MB"),
        *(
            Target(f"memory of the {who} above its start, models", one["memory"] / model, MODELS, "x")
            for who, one in at_centre.items()
            if size.parameters >= 250_000  # below, what a process needs besides is more than its models
        ),
    ]
    return Outcome(
        "a secure sum",
        [
            Column("what", "what"),
            Column("seconds", "seconds", ",.4f"),
            Column("rate", "nodes a second"),
            Column("memory", "MB above start", ",.1f", 1e6),
            Column("bytes", "reply MB", ",.3f", 1e6),
        ],
        rows,
        targets,
        {"nodes": size.nodes, "parameters": size.parameters, "bits": 32, "machine": platform.machine()},
        ["Medians of turns, masking and AES in turn. Leader and helper each in a process of its own, on one core."],
    )


def _masking(size: SumSize) -> tuple[float, float]:
    """Seconds of splitting a coded vector, and of AES-CTR over its bytes."""
    vector = np.random.default_rng(0).integers(0, 2**32, size.parameters, np.uint32)
    zeros, room = bytes(vector.nbytes), bytearray(vector.nbytes + 16)
    masking, aes = [], []
    for _ in range(size.turns):
        begun = time.perf_counter()
        split(Vector(vector, np.zeros(3, np.uint64)))
        masking.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16))).encryptor().update_into(zeros, room)
        aes.append(time.perf_counter() - begun)
    return statistics.median(masking), statistics.median(aes)


def _process(who: str, size: SumSize) -> dict[str, float]:
    code = f"from simulations.benchmarks.secure_sum import {who}; {who}({size.nodes}, {size.parameters})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    seconds, memory = map(float, done.stdout.split()[-2:])
    return {"seconds": seconds, "rate": size.nodes / seconds, "memory": memory}


def leader(nodes: int, parameters: int) -> None:
    """Print seconds and bytes of memory for adding up so many shares."""
    plan = Plan(1.0, nodes)
    share = Vector(np.random.default_rng(0).integers(0, 2**32, parameters, np.uint32), np.zeros(3, np.uint64))
    before = _forget_peak()
    total = ShareSum(parameters, 3, plan.code.dtype, nodes)
    begun = time.perf_counter()
    for _ in range(nodes):
        total.add(share)
    mask = MaskSum(parameters, 3, plan.code.dtype)
    plan.code.decode(total.joined(mask.elements, mask.scalars).elements)
    print(time.perf_counter() - begun, _peak() - before)  # noqa: T201  (read by the parent)


def helper(nodes: int, parameters: int) -> None:
    """Print seconds and bytes of memory for the answers about so many nodes."""
    authority = CertificateAuthority.create("bench")
    me = authority.enrol(HELPER_PARTY, Role.HELPER)
    at, secret = SumName("bench", 7, 1, Part.TRAIN), new_secret()
    parties = [node_party(number) for number in range(2, nodes + 2)]
    certificates: dict[str, Certificate] = {}
    seeds: dict[int, dict[str, SealedSeed]] = {}
    with tempfile.TemporaryDirectory() as folder:
        records = HelperRecords(f"sqlite:///{Path(folder) / 'helper.db'}")
        desk = HelperDesk(me.keys, "bench", records, certificates.get, 3)
        identities = [authority.enrol(party, Role.NODE) for party in parties]
        for node in identities:
            certificates[node.party] = node.certificate
            records.approve(node.party, 1.0, key_digest(node.certificate))
        drawn = desk.draw(7, DrawRequest(1, Part.TRAIN, commitment_of(secret), parties, nodes, 3, 1e6))
        if drawn.draw is None:
            raise RuntimeError(f"the helper drew nothing: {drawn.refusal}")
        purpose = Purpose(at, ASSIGNMENT, drawn.draw.nonce)
        groups = groups_of(at, secret, drawn.draw.nonce, parties, nodes, 3)
        for node in identities:
            group = groups[node.party]
            sealed = seal_seed(node, me.certificate, purpose, NodeTerms(3, 0, group), new_seed())
            seeds.setdefault(group, {})[node.party] = sealed
        before = _forget_peak()
        begun = time.perf_counter()
        for of_group in seeds.values():  # as large as one message allows
            asked = SumRequest(1, Part.TRAIN, ASSIGNMENT, 32, parameters, 3, of_group, secret)
            answer = desk.answer(7, asked)
            if answer.refusal is not None:
                raise RuntimeError(f"the helper refused: {answer.refusal.value}")
        print(time.perf_counter() - begun, _peak() - before)  # noqa: T201  (read by the parent)
        records.close()


def _forget_peak() -> int:
    """Let the kernel count the peak anew, and return what is in memory now, bytes."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _peak()


def _peak() -> int:
    """Most memory since then, bytes."""
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
