"""`python -m edge.learning`: the trainer. Reads tasks on standard input, writes replies, ends when the pipe closes.

Standard output is the pipe to the node. What an app prints goes nowhere: it may print what it reads.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

from edge.learning.protocol import BAD_APP, BAD_STORE, Masked, Request, Response, Workplace, read_frame, write_frame
from edge.learning.silence import silence
from edge.learning.site import Refused, Site
from edge.store.database import Database
from edge.store.errors import StoreError
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary import flower
from privacy.boundary.arrays import BadArrays, arrays_of, pack, unpack
from privacy.boundary.assignment import assignment_of
from privacy.boundary.messages import Encoding, Refusal
from privacy.identity.secret import Secret
from privacy.logs import configure_process
from privacy.secure_sum.terms import SEED, TERMS, SumTerms

flower.quieten()

import torch  # noqa: E402  (after the adapter has told Flower to be quiet and to phone nobody)
from flwr.app import Context, Message, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

from edge.learning.masking import secure_sum_mod, terms_of  # noqa: E402


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


def answer(app: ClientApp, workplace: Workplace, request: Request, brought: memoryview) -> tuple[Response, bytes]:
    """Run the app on one task; whatever goes wrong becomes a refusal in fixed words.

    Args:
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
    base = arrays_of(message)
    try:
        terms = _accepted(terms_of(message), workplace, request)
        asked = b"" if terms is None else assignment_of(message)  # before the app, which may change its message
        reply = secure_sum_mod(message, context, app)
        masked = _masked(reply, terms, asked)
        arrays = arrays_of(reply) if reply.has_content() else {}
        packed, sizes = pack(arrays, request.encoding, base)
    except Refused as no:
        return _refused(no.refusal, str(no))
    except Exception:  # its text may be a record, so fixed words alone leave this process
        return _refused(Refusal.TRAINING_FAILED, "the app raised an error")
    if reply.has_error():
        return _refused(Refusal.TRAINING_FAILED, "the app replied with an error")
    state = memoryview(flower.context_bytes(context)) if context.state else None
    return Response(memoryview(flower.head_of(reply)), sizes, state, masked=masked), packed


def _accepted(terms: SumTerms | None, workplace: Workplace, request: Request) -> SumTerms | None:
    """The terms, where this node takes part in such a sum (or in none): looked at before anything is spent.

    Raises:
        Refused: UNMASKED or NO_HELPER.
    """
    if terms is None and workplace.only_masked:
        raise Refused(Refusal.UNMASKED, "the run file has no [secure_sum], or the centre left it out")
    if terms is not None and terms.helper != request.helper:
        raise Refused(Refusal.NO_HELPER, f"the task names {terms.helper}, this node trusts {request.helper}")
    return terms


def _masked(reply: Message, terms: SumTerms | None, assignment: bytes) -> Masked | None:
    """The seed, taken out of the reply."""
    if terms is None or reply.has_error():
        return None
    seed = flower.config_records(reply.content)[TERMS].pop(SEED)
    if not isinstance(seed, bytes):
        raise TypeError(f"a seed is bytes, this one is {type(seed).__name__}")
    return Masked(terms.helper, terms.round_number, terms.part, assignment, Secret(seed))


def _refused(refusal: Refusal, detail: str) -> tuple[Response, bytes]:
    return Response(refusal=refusal, detail=detail), b""


def serve(requests: BinaryIO, responses: BinaryIO) -> None:
    opening = read_frame(requests, Workplace)
    if opening is None:
        return
    workplace, _ = opening
    torch.set_num_threads(workplace.threads)
    connection = Database(Path(workplace.database), workplace.key).connect()
    site = Site(connection, PrivacyLedger(connection, workplace.budget), workplace.min_cohort)
    app = load_app(workplace.app, site)
    while (frame := read_frame(requests, Request)) is not None:
        response, packed = answer(app, workplace, *frame)
        write_frame(responses, response, packed)


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
