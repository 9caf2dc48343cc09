"""The whole list of MQTT topics that Jaga uses. A payload anywhere else is a fault or a leak.

| topic | retained | written by | read by |
|---|---|---|---|
| `jaga/1/presence/{party}` | yes | that party | the centre, helper and health authority; nodes read those three's |
| `jaga/1/task/{party}` | no | the leader | that node |
| `jaga/1/reply/{party}` | no | that node | the leader |
| `jaga/1/blob/{sha256}` | yes | the leader | every node |
| `jaga/1/claim/{run}/{instance}` | yes | the leader | the leader |
| `jaga/1/case/{party}` | no | that node | the health authority |
| `jaga/1/keys/{region}/{batch}` | yes | the health authority | every node |
| `jaga/1/sum/{party}` | no | the leader | that helper |
| `jaga/1/share/{party}` | no | a helper | that leader |
| `jaga/1/revocations/{party}` | yes | that party, leader or helper, which carry the authority's list | every party |
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.boundary.messages import Kind

PREFIX = "jaga/1"
ALL_REPLIES = f"{PREFIX}/reply/+"
ALL_PRESENCE = f"{PREFIX}/presence/+"
ALL_CASES = f"{PREFIX}/case/+"
ALL_REVOCATIONS = f"{PREFIX}/revocations/+"


def presence(party: str) -> str:
    return f"{PREFIX}/presence/{party}"


def task(party: str) -> str:
    return f"{PREFIX}/task/{party}"


def reply(party: str) -> str:
    return f"{PREFIX}/reply/{party}"


def blob(digest: bytes) -> str:
    return f"{PREFIX}/blob/{digest.hex()}"


def claim(run_id: int, instance: str) -> str:
    return f"{PREFIX}/claim/{run_id:016x}/{instance}"


def claims(run_id: int) -> str:
    """The filter that matches every claim on one run."""
    return claim(run_id, "+")


def case(party: str) -> str:
    return f"{PREFIX}/case/{party}"


def keys(region: str, batch: str) -> str:
    return f"{PREFIX}/keys/{region}/{batch}"


def sum_request(party: str) -> str:
    """Where a helper is asked for its share of a sum."""
    return f"{PREFIX}/sum/{party}"


def sum_share(party: str) -> str:
    """Where a leader is given it."""
    return f"{PREFIX}/share/{party}"


def revocations(carrier: str) -> str:
    """Where a party publishes the authority's list. Each carrier has a topic of its own, so that none can take back
    what another published."""
    return f"{PREFIX}/revocations/{carrier}"


def keys_of(region: str) -> str:
    """The filter that matches every batch of diagnosis keys of one region."""
    return keys(region, "+")


@dataclass(frozen=True, slots=True)
class Address:
    """A topic, taken apart: which kind of message belongs there, and whose (a party, a digest, a run, or a region)."""

    kind: Kind
    owner: str


_LEVELS = {Kind.CLAIM: 2, Kind.KEYS: 2}


def parse(topic: str) -> Address | None:
    """Take a topic apart; None where it is none of ours."""
    prefix, _, rest = topic.partition(f"{PREFIX}/")
    kind, _, owner = rest.partition("/")
    levels = owner.split("/")
    if prefix or kind not in Kind.__members__.values() or not all(levels):
        return None
    if len(levels) != _LEVELS.get(Kind(kind), 1):
        return None
    return Address(Kind(kind), levels[0])
