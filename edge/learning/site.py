"""What a node offers the app that trains on it: its own rows, its ledger, and the way to say no."""

from __future__ import annotations

from dataclasses import dataclass

from edge.learning.bounds import Allowed
from edge.store.connection import Connection
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary.messages import Refusal


class Refused(Exception):
    """The app does not do this task; the centre hears the refusal's fixed words, the detail stays on the node."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(detail or refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Site:
    """One node's data, as a learning app may use it.

    Attributes:
        min_cohort: of how many nodes a secure sum is at least, as this node's owner believes of the helper.
        allowed: what the owner allows; None allows all that is installed.
    """

    connection: Connection
    ledger: PrivacyLedger
    min_cohort: int = 3
    allowed: Allowed | None = None
