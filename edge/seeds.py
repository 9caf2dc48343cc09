"""The helper's share of a reply on its way out: sealed to the helper that this node trusts, and signed by the node."""

from __future__ import annotations

import hmac
import threading
import time

from edge.learning.protocol import Masked, TrustedHelper
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Rejected
from privacy.boundary.messages import Header
from privacy.identity.authority import Identity
from privacy.identity.certificates import HELPER_PARTY, Certificate, Role
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import SealedSeed
from privacy.secure_sum.seeds import Purpose, seal_seed

POLL_S = 0.2
ANY_HELPER = "any"
"""In the place of a fingerprint: whoever the federation's authority calls a helper is believed."""
NOT_PINNED = (
    "privacy.helper_key is not set: ask the helper's own organisation for its fingerprint (`jaga-central helper show`) "
    'and write it into node.toml, or helper_key = "any" to believe whom the federation\'s authority calls a helper'
)


class NoHelper(LookupError):
    """There is no helper that this node trusts; the message says why."""


class SeedSealer:
    """Seals seeds.

    Args:
        directory: of those who have presented themselves.
        helper_key: fingerprint of the helper's sealing key, as its own organisation gave it to this node; `ANY_HELPER`
            believes whom the federation's authority calls a helper, None nobody.
        patience_s: how long a helper that has not presented itself is waited for.
    """

    def __init__(
        self, identity: Identity, directory: Directory, helper_key: str | None, *, patience_s: float = 30.0
    ) -> None:
        self._identity = identity
        self._directory = directory
        self._helper_key = helper_key
        self._patience_s = patience_s

    @property
    def helper(self) -> TrustedHelper | None:
        """The helper that this node would seal to now, as the trainer is told; None if there is none."""
        try:
            return self.told(self.trusted())
        except NoHelper:
            return None

    def told(self, helper: Certificate) -> TrustedHelper:
        """A helper as the trainer is told of it."""
        return TrustedHelper(helper.party, helper.federation, helper.verify_key.public_bytes_raw())

    def trusted(self) -> Certificate:
        """The helper's certificate.

        Raises:
            NoHelper: it is unknown, expired, of another role, or not the one that this node was told to trust.
        """
        if self._helper_key is None:
            raise NoHelper(NOT_PINNED)
        try:
            helper = self._directory.certificate(HELPER_PARTY)
        except Rejected as why:
            raise NoHelper(f"{why}: is the helper running?") from why
        if helper.role is not Role.HELPER or helper.sealing_key is None:
            raise NoHelper(f"{HELPER_PARTY} has role {helper.role}, and no helper's certificate with a key to seal to")
        fingerprint = helper.sealing_key.fingerprint
        if self._helper_key != ANY_HELPER and not hmac.compare_digest(fingerprint, self._helper_key):
            raise NoHelper(
                f"{HELPER_PARTY} has key {fingerprint[:16]}…, and privacy.helper_key is {self._helper_key[:16]}…: ask "
                "the helper's own organisation for its fingerprint, and nobody else"
            )
        return helper

    def wait(self, stopping: threading.Event) -> Certificate:
        """The helper's certificate, once it has presented itself.

        Raises:
            NoHelper: as `trusted`; it was waited for in vain, or `stopping` was set meanwhile.
        """
        if self._helper_key is None:
            raise NoHelper(NOT_PINNED)
        deadline = time.monotonic() + self._patience_s
        while HELPER_PARTY not in self._directory and time.monotonic() < deadline and not stopping.wait(POLL_S):
            continue
        return self.trusted()

    def seal(self, task: Header, masked: Masked) -> SealedSeed:
        """The seed of the reply to `task`, for the helper that the task names.

        Raises:
            NoHelper: as `trusted`, or the task names another one.
        """
        helper = self.trusted()
        if masked.helper != helper.party:
            raise NoHelper(f"the task names {masked.helper}, and this node seals to {helper.party}")
        at = SumName(task.federation, task.run_id, masked.round_number, masked.part)
        purpose = Purpose(at, masked.assignment, masked.draw)
        return seal_seed(self._identity, helper, purpose, masked.said, masked.seed)
