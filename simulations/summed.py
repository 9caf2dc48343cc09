"""A secure sum inside one process: real nodes' mod, real seals, a real helper's rules and records, and no wire.

What attacks, experiments and tests of the sum run on. The leader is whoever holds the strategy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from flwr.app import Context, Message, RecordDict

from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords
from edge.learning.masking import said_of, secure_sum_mod, terms_of
from privacy.boundary.assignment import assignment_of
from privacy.boundary.flower import config_records
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import HELPER_PARTY, Certificate, Role, node_id_of, node_party
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import DrawRequest, DrawShare, Part, SumRequest, SumShare
from privacy.secure_sum.seeds import Purpose, key_digest, seal_seed
from privacy.secure_sum.terms import SEED, TERMS

App = Callable[[Message, Context], Message]
FIRST_NODE = 2
"""1 is the server side, in Flower."""


class SummedFederation:
    """Nodes 2, 3, … and a helper that has approved all of them.

    Args:
        folder: for the helper's database.
        min_cohort: the helper's.
    """

    def __init__(self, folder: Path, nodes: int, min_cohort: int, run_id: int = 2**63 + 5) -> None:
        self.run_id = run_id
        self.authority = CertificateAuthority.create("summed")
        self.helper = self.authority.enrol(HELPER_PARTY, Role.HELPER)
        self.nodes: dict[int, Identity] = {}
        self.requests: list[SumRequest] = []
        self.min_cohort = min_cohort
        self._database = folder / "helper.db"
        self._open()
        for _ in range(nodes):
            self.join(approved=True)

    def _open(self) -> None:
        self.records = HelperRecords(f"sqlite:///{self._database}")
        self._desk = HelperDesk(
            self.helper.keys,
            self.authority.anchor.federation,
            self.records,
            self.certificate_of,
            self.min_cohort,
            most_unused=2**31,
        )

    def back_up(self) -> bytes:
        """Copy the helper's database."""
        self.records.close()
        copy = self._database.read_bytes()
        self._open()
        return copy

    def put_back(self, copy: bytes) -> None:
        """Start the helper again on a copy of its database from before, as though nobody had kept its anchor."""
        self.records.close()
        for file in self._database.parent.glob(f"{self._database.name}*"):
            file.unlink()
        self._database.write_bytes(copy)
        self._open()

    def join(self, *, approved: bool = False) -> Identity:
        """A further node."""
        node_id = FIRST_NODE + len(self.nodes)
        identity = self.nodes[node_id] = self.authority.enrol(node_party(node_id), Role.NODE)
        if approved:
            self.records.approve(identity.party, 1.0, key_digest(identity.certificate))
        return identity

    def ask(self, request: SumRequest) -> SumShare:
        """The helper's answer, as a leader's `SumHelper`."""
        self.requests.append(request)
        return self._desk.answer(self.run_id, request)

    def draw(self, request: DrawRequest) -> DrawShare:
        """The helper's part of a draw, as a leader's `SumHelper`."""
        return self._desk.draw(self.run_id, request)

    def sum_name(self, number: int, part: Part) -> SumName:
        return SumName(self.authority.anchor.federation, self.run_id, number, part)

    def answer(self, task: Message, app: App) -> Message:
        """What a node answers to a task, as the leader's strategy gets it; the app is a `ClientApp`, or like one.

        Raises:
            Refused: as `edge.learning.masking.secure_sum_mod`.
        """
        node_id, terms = task.metadata.dst_node_id, terms_of(task)
        reply = secure_sum_mod(task, Context(self.run_id, node_id, {}, RecordDict(), {}), app)
        if terms is not None and not reply.has_error():
            config = config_records(reply.content)[TERMS]
            at = self.sum_name(terms.round_number, terms.part)
            purpose = Purpose(at, assignment_of(task), terms.draw.nonce)
            seed, said = config[SEED], said_of(config, terms, self.min_cohort)
            if not isinstance(seed, bytes):
                raise TypeError(f"a seed is bytes, this one is {type(seed).__name__}")
            sealed = seal_seed(self.nodes[node_id], self.helper.certificate, purpose, said, seed)
            config[SEED] = msgspec.msgpack.encode(sealed)
        return reply

    def close(self) -> None:
        self.records.close()

    def certificate_of(self, party: str) -> Certificate | None:
        node = self.nodes.get(node_id_of(party))
        return None if node is None else node.certificate
