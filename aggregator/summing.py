"""The leader's line to the second organisation of a secure sum, over the connection that its grid has.

A request is asked again, as it was, while no answer comes: the helper may be starting anew, the broker may have
forgotten. The helper answers the same request the same way however often it is asked. What is not signed by the
helper, or is of another length than was asked for, is no answer.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from aggregator.grid import MqttGrid
from privacy.boundary import topics
from privacy.boundary.envelope import Rejected, wrap
from privacy.boundary.messages import MESSAGE_ID_BYTES, Header, Kind
from privacy.boundary.wire import Delivery
from privacy.identity.certificates import HELPER_PARTY, Certificate, Role
from privacy.secure_sum.exchange import SumRequest, SumShare
from privacy.secure_sum.fixed_point import WIDTHS
from privacy.secure_sum.vector import SCALAR_BITS

log = structlog.get_logger()

DEADLINE_S = 300.0
ASK_AGAIN_S = (2.0, 60.0)
"""The first pause before asking again, and the longest."""
TICK_S = 0.2


class HelperSilent(ConnectionError):
    """The second organisation gave no answer in time; the message says what was heard of it, and what to do."""


@dataclass(slots=True)
class _Question:
    request: SumRequest
    answer: Future[SumShare] = field(default_factory=Future)


class HelperLine:
    """Asks the helper, and waits. Ask while no reply of the grid is in hand: its answers come on the same thread.

    Args:
        deadline_s: how long one question may take, over all attempts.
    """

    def __init__(self, grid: MqttGrid, *, helper: str = HELPER_PARTY, deadline_s: float = DEADLINE_S) -> None:
        self._helper = helper
        self._deadline_s = deadline_s
        self._run_id = grid.run.run_id
        self._directory = grid.directory
        self._connection = grid.connection
        self._open: dict[bytes, _Question] = {}
        self._heard = ""
        self._connection.subscribe(topics.sum_share(self._directory.identity.party), self._share)

    def ask(self, request: SumRequest) -> SumShare:
        """The helper's half of a sum, or its refusal. Blocks.

        Raises:
            HelperSilent: after the deadline.
        """
        self._heard = ""
        deadline = time.monotonic() + self._deadline_s
        header = self._header()
        payload = wrap(self._directory.identity, header, request, self._certificate(request, deadline))
        question = self._open[header.message_id] = _Question(request)
        publication: Future[None] | None = None
        pause_s, longest_s = ASK_AGAIN_S
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                if publication is None or publication.done():
                    topic = topics.sum_request(self._helper)
                    publication = self._connection.publish(topic, payload, expires_in_s=left_s)
                with suppress(NotInTime):
                    return question.answer.result(min(pause_s, left_s))
                pause_s = min(2 * pause_s, longest_s)
        finally:
            del self._open[header.message_id]
        raise self._silent(request, self._heard or "no answer came")

    def _header(self) -> Header:
        identity, now = self._directory.identity, time.time()
        return Header(
            Kind.SUM_REQUEST,
            identity.certificate.federation,
            identity.party,
            self._helper,
            self._run_id,
            secrets.token_bytes(MESSAGE_ID_BYTES),
            None,
            now,
            now + self._deadline_s,
            True,
        )

    def _certificate(self, request: SumRequest, deadline: float) -> Certificate:
        """The helper's, once it has presented itself."""
        while True:
            try:
                known = self._directory.certificate(self._helper)
                if known.role is Role.HELPER:
                    return known
                why = f"its certificate is for role {known.role}, not helper"
            except Rejected as rejected:
                why = str(rejected)
            if time.monotonic() > deadline:
                raise self._silent(request, why)
            time.sleep(TICK_S)

    def _silent(self, request: SumRequest, why: str) -> HelperSilent:
        return HelperSilent(
            f"{self._helper} gave no sum for round {request.round_number} ({request.part.value}) in "
            f"{self._deadline_s:.0f} s: {why}. Is `jaga-central helper run` running at the second organisation, on "
            "this broker, and are both clocks right? Start the run again to go on"
        )

    # --- on the network's thread -------------------------------------------------------------------------------------

    def _share(self, delivery: Delivery) -> None:
        try:
            header, share = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(str(why))
            return
        question = self._open.get(header.reply_to or b"")
        if question is None or header.sender != self._helper or header.run_id != self._run_id:
            log.info("a half of a sum that nobody waits for (any longer)", sender=header.sender)
        elif not isinstance(share, SumShare):
            raise TypeError(f"a {header.kind} where the half of a sum should be")
        elif (fault := _fault(question.request, share)) is not None:
            self._turn_away(fault)
        elif not question.answer.done():
            question.answer.set_result(share)

    def _turn_away(self, why: str) -> None:
        self._heard = f"an answer was turned away, {why}"
        log.warning("answer of the second organisation turned away", reason=why)


def _fault(request: SumRequest, share: SumShare) -> str | None:
    """What is wrong with an answer; a refusal has no halves."""
    wanted = (request.elements * WIDTHS[request.bits].itemsize, request.scalars * SCALAR_BITS // 8)
    found = (len(share.elements), len(share.scalars))
    if share.refusal is not None:
        wanted = (0, 0)
    return None if found == wanted else f"its halves have {found} bytes, expected {wanted}"
