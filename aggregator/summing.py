"""The leader's line to the helper of secure sums: one request, one answer, asked again until it comes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Rejected, wrap
from privacy.boundary.messages import MESSAGE_ID_BYTES, Header, Kind
from privacy.boundary.wire import Connection, Delivery
from privacy.secure_sum.exchange import SumRequest, SumShare

log = structlog.get_logger()

ASK_AGAIN_S = 10.0
"""A request or its answer may be lost where a broker or the helper dies; the same one is answered the same again."""
POLL_S = 0.5


class HelperSilent(RuntimeError):
    """The helper gave no answer in time; nothing is lost, and the same may be asked again."""


class HelperLine:
    """Asks one helper.

    Args:
        connection: the leader's; the line subscribes to its answers, so make it before the connection starts.
        helper: party of the helper.
        run_id: of the run that is summed.
        deadline_s: how long an answer is waited for.
    """

    def __init__(
        self,
        directory: Directory,
        connection: Connection,
        helper: str,
        run_id: Callable[[], int],
        deadline_s: float,
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._helper = helper
        self._run_id = run_id
        self._deadline_s = deadline_s
        self._open: tuple[bytes, Future[SumShare]] | None = None
        connection.subscribe(topics.sum_share(directory.identity.party), self._share)

    def ask(self, request: SumRequest) -> SumShare:
        """The helper's share of a sum, or its refusal. One request at a time.

        Raises:
            HelperSilent: none in time.
        """
        deadline = time.monotonic() + self._deadline_s
        message_id = secrets.token_bytes(MESSAGE_ID_BYTES)
        answered: Future[SumShare] = Future()
        self._open = message_id, answered
        try:
            while (left := deadline - time.monotonic()) > 0:
                known = self._helper in self._directory
                if known:
                    self._send(message_id, request, left)
                try:
                    return answered.result(min(ASK_AGAIN_S if known else POLL_S, left))
                except TimeoutError:
                    continue
            raise HelperSilent(self._why())
        finally:
            self._open = None

    def _send(self, message_id: bytes, request: SumRequest, left_s: float) -> None:
        identity, now = self._directory.identity, time.time()
        header = Header(
            Kind.SUM,
            identity.certificate.federation,
            identity.party,
            self._helper,
            self._run_id(),
            message_id,
            None,
            now,
            now + left_s,
            True,
        )
        payload = wrap(identity, header, request, self._directory.certificate(self._helper))
        self._connection.publish(topics.sum_request(self._helper), payload, expires_in_s=max(1.0, left_s))

    def _share(self, delivery: Delivery) -> None:
        """On the network's thread."""
        try:
            header, body = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            log.warning("message turned away", topic=delivery.topic, reason=str(why))
            return
        if header.sender != self._helper or not isinstance(body, SumShare):
            log.warning("a share of a sum from somebody else", sender=header.sender, helper=self._helper)
            return
        asked = self._open
        if asked is not None and header.reply_to == asked[0] and not asked[1].done():
            asked[1].set_result(body)

    def _why(self) -> str:
        if self._helper not in self._directory:
            return (
                f"the helper {self._helper!r} has not presented itself in {self._deadline_s:.0f} s: ask its "
                "organisation whether `jaga-central helper run` is running, then start the run again"
            )
        return (
            f"the helper {self._helper!r} gave no answer in {self._deadline_s:.0f} s: ask its organisation to look at "
            "its log, then start the run again; it goes on with this round"
        )
