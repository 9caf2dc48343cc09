"""`python -m edge.learning`: the trainer. Reads tasks on standard input, writes replies, ends when the pipe closes.

Standard output is the pipe to the node. What an app prints goes nowhere: it may print what it reads.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from edge.learning.admission import admit
from edge.learning.answer_time import TooLong, answer_after_s, class_of
from edge.learning.isolation import Result, run_isolated
from edge.learning.protocol import (
    BAD_APP,
    BAD_STORE,
    JAGA_APP,
    Masked,
    Request,
    Response,
    Workplace,
    read_frame,
    write_frame,
)
from edge.learning.silence import silence
from edge.learning.site import Refused, Site
from edge.store.database import Database
from edge.store.errors import StoreError
from edge.store.trusted_clock import TrustedClock
from privacy.accounting.ledger import BudgetSpent, PrivacyLedger
from privacy.boundary import flower
from privacy.boundary.arrays import BadArrays, arrays_of, pack, unpack
from privacy.boundary.assignment import assignment_of
from privacy.boundary.messages import Encoding, Refusal
from privacy.identity.secret import Secret
from privacy.logs import configure_process
from privacy.secure_sum.exchange import Part
from privacy.secure_sum.terms import SEED, TERMS, SumTerms

flower.quieten()

import torch  # noqa: E402  (after the adapter has told Flower to be quiet and to phone nobody)
from flwr.app import Context, Message, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

from edge.learning.app import agree, read_examples  # noqa: E402
from edge.learning.masking import (  # noqa: E402
    arrays_in,
    masked_content,
    said_of,
    secure_sum_mod,
    terms_of,
    without_terms,
)
from edge.learning.work import Outcome, pay  # noqa: E402

LONGEST_REHEARSAL_S = 600.0


class BadApp(TypeError):
    """The configured app is neither a ClientApp nor a function that makes one."""


def load_app(name: str, site: Site) -> ClientApp:
    """The `ClientApp` that `module:object` names, made for this site where the object is a function.

    Raises:
        BadApp: it is something else, or is not there.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as why:
        raise BadApp(f"app {name!r} cannot be loaded: {why}; write module:object in [learning] app") from why
    app = found if isinstance(found, ClientApp) else found(site) if callable(found) else None
    if not isinstance(app, ClientApp):
        raise BadApp(f"app {name!r} is {type(found).__name__}, not a Flower ClientApp or a function that makes one")
    return app


def answer(
    app: ClientApp | None, workplace: Workplace, request: Request, brought: memoryview
) -> tuple[Response, bytes | memoryview]:
    """Do one task.

    What goes wrong before a record is read becomes a refusal in fixed words. Afterwards nothing is refused: see
    `_worked`.

    Args:
        app: somebody's own; None for Jaga's.
        brought: the joined arrays of the task.

    Returns:
        The response, and its packed arrays.
    """
    try:
        message = flower.message_of(request.flower)
        flower.enter_run(message.metadata.run_id, workplace.node_id)
        unpack(message, brought, request.sizes, Encoding.EXACT, {})
        context = (
            Context(message.metadata.run_id, workplace.node_id, dict(workplace.node_config), RecordDict(), {})
            if request.context is None
            else flower.context_of(bytes(request.context))
        )
    except (flower.BadFlowerMessage, BadArrays) as why:
        return _refused(Refusal.BAD_MODEL, str(why))
    try:
        terms = _accepted(terms_of(message), workplace, request, message.metadata.run_id)
        if app is None:
            return _worked(message, terms, workplace, request)
        return _ran(app, message, context, terms, workplace.min_cohort, request)
    except Refused as no:
        return _refused(no.refusal, str(no))
    except Exception:  # its text may be a record, so fixed words alone leave this process
        return _refused(Refusal.TRAINING_FAILED, "the app raised an error")


def _worked(
    message: Message, terms: SumTerms | None, workplace: Workplace, request: Request
) -> tuple[Response, bytes | memoryview]:
    """Answer with Jaga's own app: a function of the task and the store that is defined for all of both.

    Everything that can be refused is refused before the ledger is charged, and the charge comes before a record is
    read. An answer that holds noise alone is made first; it is what leaves if the work on records raises, dies or is
    not done in time. Either answer leaves when its time has come.

    Raises:
        Refused: for a reason that depends on no record.
    """
    asked = b"" if terms is None else assignment_of(message)
    plain = message if terms is None else without_terms(message)
    work = agree(plain, terms, workplace.allowed, workplace.min_cohort)
    database = Database(Path(workplace.database), workplace.key)
    base = arrays_in(plain.content) if terms is not None and terms.part is Part.TRAIN else {}
    epsilon, after, until = 0.0, 0.0, 0.0

    def respond(outcome: Outcome) -> tuple[Response, bytes]:
        content, masked = outcome.content(epsilon), None
        if terms is not None:
            content = masked_content(content, terms, base, outcome.noise)
            masked = _masked(content, terms, asked, workplace.min_cohort)
        reply = Message(content, reply_to=plain)
        packed, sizes = pack(arrays_of(reply), request.encoding, arrays_of(message))
        return Response(memoryview(flower.head_of(reply)), sizes, masked=masked), packed

    def from_nothing() -> tuple[Response, bytes]:
        return respond(work.outcome(work.no_examples()))

    def from_records() -> tuple[Response, bytes]:
        with closing(database.connect()) as connection:
            examples = read_examples(connection, work.task, after, until)
        return respond(work.outcome(examples))

    rehearsal = run_isolated(from_nothing, LONGEST_REHEARSAL_S)
    if rehearsal.answer is None:
        raise Refused(Refusal.BAD_TASK, f"this task cannot be answered: {rehearsal.trouble}")
    try:
        seconds, spare_s = answer_after_s(work.cost, workplace.speed), class_of(2 * rehearsal.seconds)
    except TooLong as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why
    if seconds + spare_s > request.seconds:
        raise Refused(
            Refusal.BAD_TASK,
            f"an answer takes {seconds + spare_s:g} s here, and the task expires in {request.seconds:.0f} s: give the "
            "cohort a longer deadline_s, or say in [learning] speed how fast this machine is",
        )
    message_id = bytes.fromhex(message.metadata.message_id)
    with closing(database.connect()) as connection:  # closed before a process is forked, which SQLite asks for
        ledger = PrivacyLedger(connection, workplace.budget, TrustedClock(connection).now)
        try:
            entry = pay(ledger, message_id, work, again=request.noise_only)
        except BudgetSpent as why:
            raise Refused(Refusal.BUDGET_SPENT, str(why)) from why
        epsilon, (after, until) = ledger.epsilon(), ledger.reading_window(entry)
    due = time.monotonic() + seconds + spare_s
    result = Result(None, "an earlier attempt was interrupted")
    if not request.noise_only:
        result = run_isolated(from_records, seconds)
    response, packed = result.answer or run_isolated(from_nothing, LONGEST_REHEARSAL_S).answer or rehearsal.answer
    if workplace.hold_answers:
        time.sleep(max(0.0, due - time.monotonic()))
    return msgspec.structs.replace(response, trouble=result.trouble), packed


def _ran(
    app: ClientApp, message: Message, context: Context, terms: SumTerms | None, cohort: int, request: Request
) -> tuple[Response, bytes]:
    """Answer with somebody's own app. What it refuses, and how long it takes, is its own affair."""
    base = arrays_of(message)
    asked = b"" if terms is None else assignment_of(message)  # before the app, which may change its message
    reply = secure_sum_mod(message, context, partial(_without_detail, app))
    if reply.has_error():
        return _refused(Refusal.TRAINING_FAILED, "the app replied with an error")
    masked = None if terms is None else _masked(reply.content, terms, asked, cohort)
    packed, sizes = pack(arrays_of(reply) if reply.has_content() else {}, request.encoding, base)
    state = memoryview(flower.context_bytes(context)) if context.state else None
    return Response(memoryview(flower.head_of(reply)), sizes, state, masked=masked), packed


def _without_detail(app: ClientApp, message: Message, context: Context) -> Message:
    """Run somebody's own app; what it says of its refusal may be a record, so fixed words alone leave this process.

    Raises:
        Refused: the app refused.
    """
    try:
        return app(message, context)
    except Refused as no:
        raise Refused(no.refusal) from None


def _accepted(terms: SumTerms | None, workplace: Workplace, request: Request, run_id: int) -> SumTerms | None:
    """The terms, where this node takes part in such a sum (or in none): looked at before anything is spent.

    Raises:
        Refused: UNMASKED, or as `admission.admit`.
    """
    if terms is None and workplace.only_masked:
        raise Refused(Refusal.UNMASKED, "the run file has no [secure_sum], or the centre left it out")
    if terms is not None:
        admit(terms, request.helper, run_id, workplace.min_cohort)
    return terms


def _masked(content: RecordDict, terms: SumTerms, assignment: bytes, cohort: int) -> Masked:
    """The seed and the node's own terms, taken out of a reply's content."""
    config = flower.config_records(content)[TERMS]
    seed, said = config.pop(SEED), said_of(config, terms, cohort)
    if not isinstance(seed, bytes):
        raise TypeError(f"a seed is bytes, this one is {type(seed).__name__}")
    return Masked(terms.helper, terms.round_number, terms.part, assignment, terms.draw.nonce, said, Secret(seed))


def _refused(refusal: Refusal, detail: str) -> tuple[Response, bytes]:
    return Response(refusal=refusal, detail=detail), b""


def serve(requests: BinaryIO, responses: BinaryIO) -> None:
    opening = read_frame(requests, Workplace)
    if opening is None:
        return
    workplace, _ = opening
    torch.set_num_threads(workplace.threads)
    Database(Path(workplace.database), workplace.key).connect().close()  # or it cannot begin
    app = None if workplace.app == JAGA_APP else load_app(workplace.app, _site(workplace))
    while (frame := read_frame(requests, Request)) is not None:
        response, packed = answer(app, workplace, *frame)
        write_frame(responses, response, packed)


def _site(workplace: Workplace) -> Site:
    connection = Database(Path(workplace.database), workplace.key).connect()
    ledger = PrivacyLedger(connection, workplace.budget, TrustedClock(connection).now)
    return Site(connection, ledger, workplace.min_cohort, workplace.allowed)


def main() -> int:
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    silence()
    try:
        serve(sys.stdin.buffer, responses)
    except (BrokenPipeError, KeyboardInterrupt):
        return 0
    except BadApp:
        return BAD_APP
    except StoreError:
        return BAD_STORE
    return 0


if __name__ == "__main__":
    configure_process()
    sys.exit(main())
