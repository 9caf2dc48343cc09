"""How many bytes the messages of a round have on the wire: measured on real ones, sealed and signed."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from privacy.boundary.arrays import arrays_of, pack
from privacy.boundary.envelope import wrap
from privacy.boundary.flower import CENTRE, enter_run, head_of
from privacy.boundary.messages import Encoding, Header, Kind, Reply
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import HELPER_PARTY, Role, node_party
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import NodeTerms, Part
from privacy.secure_sum.fixed_point import WIDTHS
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import Purpose, seal_seed
from privacy.secure_sum.terms import ELEMENTS, METRICS, SCALARS, SHARE, TERMS

ASSIGNMENT = NONCE = bytes(32)
PURPOSE = Purpose(SumName("sizes", 7, 1, Part.TRAIN), ASSIGNMENT, NONCE)


def model_bytes(arrays: Mapping[str, NDArray[np.float32]]) -> int:
    """Of a node's whole model, as a reply or a task: exact float32. MQTT's own headers are not in it."""
    record = ArrayRecord({name: Array(values) for name, values in arrays.items()})
    return _sealed(RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": 1.0})}), summed=False)


def share_bytes(parameters: int, bits: int = 32, scalars: int = 3) -> int:
    """Of a node's reply under a secure sum: masked ring elements, and the seed sealed to the helper."""
    dtype = WIDTHS[bits]
    share = ArrayRecord({ELEMENTS: Array(np.zeros(parameters, dtype)), SCALARS: Array(np.zeros(scalars, np.uint64))})
    names = ["error-count", "error-sum"][: scalars - 1]
    return _sealed(RecordDict({SHARE: share, TERMS: ConfigRecord({METRICS: names})}), summed=True)


def _sealed(content: RecordDict, *, summed: bool) -> int:
    enter_run(1, CENTRE)
    authority = CertificateAuthority.create("sizes")
    node, leader = authority.enrol(node_party(2), Role.NODE), authority.enrol("leader", Role.LEADER)
    task = Message(RecordDict({"arrays": ArrayRecord(), "config": ConfigRecord()}), 2, "train")
    reply = Message(content, reply_to=task)
    packed, sizes = pack(arrays_of(reply), Encoding.EXACT, {})
    seed = None
    if summed:
        helper = authority.enrol(HELPER_PARTY, Role.HELPER)
        seed = seal_seed(node, helper.certificate, PURPOSE, NodeTerms(3, 2**31, 7), new_seed())
    header = Header(Kind.REPLY, "sizes", node.party, "leader", 7, b"m" * 16, b"t" * 16, time.time(), 4e9, True)
    body = Reply(memoryview(head_of(reply)), memoryview(packed), sizes, Encoding.EXACT, None, seed)
    return len(wrap(node, header, body, leader.certificate))
