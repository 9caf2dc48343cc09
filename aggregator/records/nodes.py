"""The nodes of the federation: who was enrolled, under which name, and whose certificate was taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select

from aggregator.records.database import Records, RecordsError
from aggregator.records.schema import NodeRow
from privacy.identity.certificates import Certificate


class NameTaken(RecordsError):
    """Another node has that name."""


class UnknownNode(RecordsError):
    """No node of that name or party was enrolled."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """An enrolled node.

    Attributes:
        name: for people, as the central team knows the site.
        serial: of its certificate.
    """

    node_id: int
    party: str
    name: str
    serial: int
    expires_at: float
    enrolled_at: float
    revoked_at: float | None

    @classmethod
    def of(cls, row: NodeRow) -> NodeEntry:
        return cls(
            row.node_id, row.party, row.name, int(row.serial, 16), row.expires_at, row.enrolled_at, row.revoked_at
        )


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes in the records."""

    records: Records

    def enrol(self, name: str, certificate: Certificate) -> NodeEntry:
        """Note a node that was given a certificate.

        Raises:
            NameTaken: the name is another node's.
        """
        with self.records.session() as session:
            if session.scalar(select(NodeRow.party).where(NodeRow.name == name)):
                raise NameTaken(f"a node named {name!r} is enrolled already: choose another name, or revoke that one")
            row = NodeRow(
                node_id=certificate.node_id,
                party=certificate.party,
                name=name,
                serial=f"{certificate.serial:x}",
                expires_at=certificate.not_after.timestamp(),
                enrolled_at=time.time(),
                revoked_at=None,
            )
            session.add(row)
        return NodeEntry.of(row)

    def entries(self) -> list[NodeEntry]:
        """All nodes by name."""
        with self.records.session() as session:
            return [NodeEntry.of(row) for row in session.scalars(select(NodeRow).order_by(NodeRow.name))]

    def revoke(self, name: str) -> NodeEntry:
        """Take a node's certificate back; it counts as absent from now on. The name can be given again.

        Raises:
            UnknownNode: naming those that there are.
        """
        with self.records.session() as session:
            row = session.scalar(select(NodeRow).where((NodeRow.name == name) | (NodeRow.party == name)))
            if row is None:
                known = ", ".join(session.scalars(select(NodeRow.name).order_by(NodeRow.name))) or "none"
                raise UnknownNode(f"no node {name!r} is enrolled (there are: {known})")
            if row.revoked_at is None:
                row.revoked_at = time.time()
                row.name = f"{row.name[:40]} revoked {row.serial[:8]}"
        return NodeEntry.of(row)

    def revoked_serials(self) -> frozenset[int]:
        """Serial numbers of the certificates that were taken back."""
        return frozenset(entry.serial for entry in self.entries() if entry.revoked_at is not None)
