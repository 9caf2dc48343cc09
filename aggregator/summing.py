"""The leader's line to the helper of secure sums: one request, one answer, asked again until it comes.

What the helper did not sign, or what is of another length than was asked for, is no answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog

from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Rejected, wrap
from privacy.boundary.messages import MESSAGE_ID_BYTES, Header, Kind
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.certificates import Role
from privacy.secure_sum.draw import BadDraw, SumName, verify_draw
from privacy.secure_sum.exchange import DrawRequest, DrawShare, Part, SumRequest, SumShare
from privacy.secure_sum.fixed_point import WIDTHS
from privacy.secure_sum.vector import SCALAR_BITS

log = structlog.get_logger()

ASK_AGAIN_S = 10.0
"""A request or its answer may be lost where a broker or the helper dies; the same one is answered the same again."""
POLL_S = 0.5


class HelperSilent(RuntimeError):
    """The helper gave no answer in time; nothing is lost, and the same may be asked again."""


@dataclass(slots=True)
class _Question:
    """A request that is out.

    Attributes:
        heard: why the last thing that came was no answer.
        sent: whether the broker has the last attempt.
    """

    request: SumRequest | DrawRequest
    message_id: bytes = field(default_factory=lambda: secrets.token_bytes(MESSAGE_ID_BYTES))
    answered: Future[SumShare | DrawShare] = field(default_factory=Future)
    heard: str = "nothing came"
    sent: Future[None] | None = None


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
        self._open: _Question | None = None
        connection.subscribe(topics.sum_share(directory.identity.party), self._share)

    def ask(self, request: SumRequest) -> SumShare:
        """The helper's share of a sum, or its refusal. One request at a time.

        Raises:
            HelperSilent: none in time.
        """
        share = self._ask(request)
        if not isinstance(share, SumShare):
            raise TypeError(f"a {type(share).__name__} in answer to a request for a sum")
        return share

    def draw(self, request: DrawRequest) -> DrawShare:
        """The helper's part of a draw, signed by it, or its refusal.

        Raises:
            HelperSilent: none in time.
        """
        share = self._ask(request)
        if not isinstance(share, DrawShare):
            raise TypeError(f"a {type(share).__name__} in answer to a request for a draw")
        return share

    def sum_name(self, number: int, part: Part) -> SumName:
        """One sum of this run."""
        return SumName(self._directory.identity.certificate.federation, self._run_id(), number, part)

    def _ask(self, request: SumRequest | DrawRequest) -> SumShare | DrawShare:
        deadline = time.monotonic() + self._deadline_s
        question = self._open = _Question(request)
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                trusted = self._is_helper(question)
                if trusted and (question.sent is None or question.sent.done()):
                    self._send(question, left_s)
                try:
                    return question.answered.result(min(ASK_AGAIN_S if trusted else POLL_S, left_s))
                except TimeoutError:
                    continue
            raise HelperSilent(
                f"the helper {self._helper!r} gave no answer for {request.part} of round {request.round_number} in "
                f"{self._deadline_s:.0f} s ({question.heard}): ask its organisation whether `jaga-central helper run` "
                "is running and what its log says, and look at both clocks; then start the run again, it goes on with "
                "this round"
            )
        finally:
            self._open = None

    def _is_helper(self, question: _Question) -> bool:
        """Whether there is somebody to ask."""
        try:
            role = self._directory.certificate(self._helper).role
        except Rejected as why:
            question.heard = str(why)
            return False
        if role is not Role.HELPER:
            question.heard = f"its certificate is for role {role}"
        return role is Role.HELPER

    def _send(self, question: _Question, left_s: float) -> None:
        identity, now = self._directory.identity, time.time()
        header = Header(
            Kind.SUM,
            identity.certificate.federation,
            identity.party,
            self._helper,
            self._run_id(),
            question.message_id,
            None,
            now,
            now + left_s,
            True,
        )
        payload = wrap(identity, header, question.request, self._directory.certificate(self._helper))
        topic = topics.sum_request(self._helper)
        question.sent = self._connection.publish(topic, payload, expires_in_s=max(1.0, left_s))

    # --- on the network's thread -------------------------------------------------------------------------------------

    def _share(self, delivery: Delivery) -> None:
        try:
            header, body = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(f"an answer was turned away, {why}")
            return
        if header.sender != self._helper or not isinstance(body, SumShare | DrawShare):
            self._turn_away(f"a share of a sum from {header.sender}, not from {self._helper}")
            return
        asked = self._open
        if asked is None or header.reply_to != asked.message_id or asked.answered.done():
            return
        if (fault := self._fault(asked.request, body)) is not None:
            self._turn_away(fault)
            return
        asked.answered.set_result(body)

    def _fault(self, request: SumRequest | DrawRequest, share: SumShare | DrawShare) -> str | None:
        """What is wrong with an answer; a refusal comes with no share."""
        if isinstance(request, SumRequest):
            return _sum_fault(request, share) if isinstance(share, SumShare) else "it is no share of a sum"
        if not isinstance(share, DrawShare) or (share.draw is None) == (share.refusal is None):
            return "it is no draw, and no refusal of one"
        if share.draw is not None:
            at = self.sum_name(request.round_number, request.part)
            try:
                verify_draw(self._directory.certificate(self._helper).verify_key, at, share.draw)
            except (BadDraw, Rejected) as why:
                return str(why)
        return None

    def _turn_away(self, why: str) -> None:
        log.warning("no answer of the helper", reason=why)
        if (asked := self._open) is not None:
            asked.heard = why


def _sum_fault(request: SumRequest, share: SumShare) -> str | None:
    wanted = (request.elements * WIDTHS[request.bits].itemsize, request.scalars * SCALAR_BITS // 8)
    found = (len(share.elements), len(share.scalars))
    if share.refusal is not None:
        wanted = (0, 0)
    return None if found == wanted else f"its share has {found} bytes, asked for were {wanted}"
