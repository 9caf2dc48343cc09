"""The helper's share of a reply on its way out: sealed to the helper that this node trusts, and signed by the node."""

from __future__ import annotations

import hmac
import threading
import time

from edge.learning.protocol import Masked
from privacy.boundary.directory import Directory
from privacy.boundary.messages import Header
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, Role
from privacy.secure_sum.exchange import SealedSeed
from privacy.secure_sum.seeds import Purpose, seal_seed

POLL_S = 0.2


class NoHelper(LookupError):
    """There is no helper that this node trusts; the message says why."""


class SeedSealer:
    """Seals seeds.

    Args:
        directory: of those who have presented themselves.
        helper_key: fingerprint of the helper's sealing key, as its own organisation gave it to this node; None believes
            whom the federation's authority calls a helper.
        patience_s: how long a helper that has not presented itself is waited for.
    """

    def __init__(
        self, identity: Identity, directory: Directory, helper_key: str | None, *, patience_s: float = 30.0
    ) -> None:
        self._identity = identity
        self._directory = directory
        self._helper_key = helper_key
        self._patience_s = patience_s

    def seal(self, task: Header, masked: Masked, stopping: threading.Event) -> SealedSeed:
        """The seed of the reply to `task`, for the helper that the task names.

        Raises:
            NoHelper: it is unknown, of another role, or not the one that this node was told to trust.
        """
        helper = self._helper(masked.helper, stopping)
        purpose = Purpose(task.federation, task.run_id, masked.round_number, masked.part)
        return seal_seed(self._identity, helper, purpose, masked.seed)

    def _helper(self, party: str, stopping: threading.Event) -> Certificate:
        deadline = time.monotonic() + self._patience_s
        while party not in self._directory and time.monotonic() < deadline and not stopping.wait(POLL_S):
            continue
        if party not in self._directory:
            raise NoHelper(f"{party} has presented no certificate that is valid: is the helper running?")
        helper = self._directory.certificate(party)
        if helper.role is not Role.HELPER or helper.sealing_key is None:
            raise NoHelper(f"{party} is a {helper.role}, not a helper with a key to seal to")
        fingerprint = helper.sealing_key.fingerprint
        if self._helper_key is not None and not hmac.compare_digest(fingerprint, self._helper_key):
            raise NoHelper(
                f"{party} has key {fingerprint[:16]}…, and privacy.helper_key is {self._helper_key[:16]}…: ask the "
                "helper's own organisation for its fingerprint, and nobody else"
            )
        return helper
