"""Jaga's learning on a node: agrees to a task or refuses it, and turns the node's examples into an answer.

`agree` looks at the task, the model and the owner's rules, and at no record; whatever is to be refused is refused
there. `app_for` is the same as a Flower ClientApp, for Flower's own simulation engine and for tests.

A reply holds the new arrays and four numbers: `num-examples` is 1 for every node (a site's exact count stays there;
larger sites weigh more through their larger summed gradients), `error-sum` and `error-count` are noised, and `epsilon`
is the ledger's total, which depends on the mechanisms that ran and not on the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from flwr.app import ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from edge.learning import dpsgd
from edge.learning.answer_time import Cost
from edge.learning.bounds import MOST_WEIGHT, Allowed, OutOfBounds, check_numbers
from edge.learning.dpsgd import DpSgdPlan, noised_metrics
from edge.learning.masking import NOISE_WANTED, TERMS_IN_HAND
from edge.learning.plain import PlainPlan, train_plainly
from edge.learning.shared import SHARED_NOISE, Protection, RecordPlan, summed_examples
from edge.learning.site import Refused, Site
from edge.learning.tasks.task import Examples, Task, UnknownTask, load_task
from edge.learning.work import Outcome, Work, pay
from edge.store.connection import Connection
from edge.store.reading import reading_only
from privacy.accounting.events import SITE, Event
from privacy.accounting.ledger import BudgetSpent
from privacy.boundary.arrays import array_view
from privacy.boundary.flower import array_records, config_records
from privacy.boundary.messages import Refusal
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import Use
from privacy.mechanisms.shared_noise import NoRoom, SharedNoise
from privacy.secure_sum.terms import SumTerms

PLAN_KEYS = {
    "noise-multiplier": "noise_multiplier",
    "clip-norm": "clip_norm",
    "steps": "steps",
    "learning-rate": "learning_rate",
    "sampling-rate": "sampling_rate",
    "lot-size": "lot_size",
    "metrics-noise-multiplier": "metrics_noise_multiplier",
}
"""What a run may say in its `[train]` table, and the field of `DpSgdPlan` that it sets."""

SITE_KEYS = {"epochs": "epochs", "batch-size": "batch_size", "learning-rate": "learning_rate"}
"""With `mechanism = "shared-noise"` and the site as its unit: fields of `PlainPlan`."""
NOISE_KEYS = {"clip-norm": "clip_norm"}
"""The same, and a field of `SharedNoise`."""
RECORD_KEYS = {"clip-norm": "clip_norm", "learning-rate": "learning_rate", "lot-size": "lot_size"}
"""With a record as its unit: fields of `RecordPlan`."""

TRAIN, EVALUATE = "train", "evaluate"
MOST_EXAMPLES = 10_000
Made = TypeVar("Made")


def agree(message: Message, terms: SumTerms | None, allowed: Allowed | None, min_cohort: int) -> Work:
    """Check a task and return the work that it asks for.

    Args:
        terms: of the secure sum that the answer will be part of; None if it is sent by itself.
        allowed: what the node's owner allows; None allows all that is installed.
        min_cohort: of how many nodes a secure sum is at least, as the owner believes of the helper.

    Raises:
        Refused: with a reason that depends on the task and the owner's rules alone.
    """
    kind = message.metadata.message_type.partition(".")[0]
    if kind not in (TRAIN, EVALUATE):
        raise Refused(Refusal.BAD_TASK, f"a task to {kind!r}; this app trains and evaluates")
    config = _config(message)
    name = str(config.get("task", ""))
    try:
        check_numbers(config)
        protection = Protection.of(config, min_cohort)
    except (OutOfBounds, TypeError, ValueError) as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why
    objection = None if allowed is None else allowed.objection(name, protection.mechanism, protection.unit)
    if objection is not None:
        raise Refused(Refusal.NOT_ALLOWED, objection)
    try:
        task = load_task(name)
    except UnknownTask as why:
        raise Refused(Refusal.UNKNOWN_TASK, str(why)) from why
    _check_model(task, message)
    if kind == EVALUATE:
        return _evaluation(task, message, _plan(config))
    if not protection.shares:
        return _dp_sgd(task, message, _plan(config))
    if terms is None:
        raise Refused(
            Refusal.BAD_TASK, f"{SHARED_NOISE} is for runs with [secure_sum]: alone, this noise is too little"
        )
    return (_whole_site if protection.unit == SITE else _records)(task, message, config, protection, terms)


def app_for(site: Site) -> ClientApp:
    """The app of one node."""
    app = ClientApp()

    def answer(message: Message, _context: Context) -> Message:
        work = agree(message, TERMS_IN_HAND.get(), site.allowed, site.min_cohort)
        message_id = bytes.fromhex(message.metadata.message_id.replace("-", ""))  # Flower's simulations give a UUID
        nothing = work.outcome(work.no_examples())
        try:
            entry = pay(site.ledger, message_id, work)
        except BudgetSpent as why:
            raise Refused(Refusal.BUDGET_SPENT, str(why)) from why
        epsilon = site.ledger.epsilon()
        try:
            outcome = work.outcome(read_examples(site.connection, work.task, *site.ledger.reading_window(entry)))
        except Exception:  # a task's own code, on records: what it raises must not show
            outcome = nothing
        NOISE_WANTED.set(outcome.noise)
        return Message(outcome.content(epsilon), reply_to=message)

    app.train()(answer)
    app.evaluate()(answer)
    return app


def read_examples(connection: Connection, task: Task, after: float, until: float) -> Examples:
    """Read what the task declares, as far as it was logged after `after` and until `until`, and make examples of it."""
    with reading_only(connection, task.sources):
        records = task.read(connection, after, until)
    return task.examples(records)


def _dp_sgd(task: Task, message: Message, plan: DpSgdPlan) -> Work:
    """Training with noise of the node's own; the error of the model that arrived is released beside it."""

    def outcome(examples: Examples) -> Outcome:
        metrics = _metrics(task, _model(task, message), examples, plan)
        model = _model(task, message)
        trained = dpsgd.train(model, examples.x, examples.y, task.loss, plan, task.unit_examples)
        return Outcome(metrics, trained.state)

    events: list[Event] = [*plan.events(task.unit_examples, task.unit), *plan.metrics_events(task.unit)]
    use = _use(TRAIN, task, Mechanism.DP_SGD, Mechanism.NOISED_METRICS)
    cost = Cost(plan.steps + 1, MOST_EXAMPLES, _parameters(task), plan.steps)
    return Work(task, use, events, cost, outcome)


def _evaluation(task: Task, message: Message, plan: DpSgdPlan) -> Work:
    def outcome(examples: Examples) -> Outcome:
        return Outcome(_metrics(task, _model(task, message), examples, plan))

    use = _use(EVALUATE, task, Mechanism.NOISED_METRICS)
    return Work(task, use, plan.metrics_events(task.unit), Cost(1, MOST_EXAMPLES, _parameters(task), 0), outcome)


def _whole_site(task: Task, message: Message, config: ConfigRecord, protection: Protection, terms: SumTerms) -> Work:
    """Training whose whole update is the secret: plain SGD, bounded and noised on its way into a secure sum.

    Nothing else of the node's data is in the reply: no noised error, for that is noised for one unit alone.
    """
    plan = _made(PlainPlan, config, SITE_KEYS)
    noise = _made(partial(SharedNoise, protection.noise_multiplier, cohort=protection.cohort), config, NOISE_KEYS)

    def outcome(examples: Examples) -> Outcome:
        state = train_plainly(_model(task, message), examples.x, examples.y, task.loss, plan)
        return Outcome({}, state, noise)

    passes = plan.epochs * math.ceil(MOST_EXAMPLES / plan.batch_size)
    cost = Cost(passes, plan.batch_size, _parameters(task), 1)
    return Work(task, _use(TRAIN, task, Mechanism.SHARED_NOISE), _shared_events(task, noise, terms), cost, outcome)


def _records(task: Task, message: Message, config: ConfigRecord, protection: Protection, terms: SumTerms) -> Work:
    """Distributed DP-SGD: one step over all examples, noised for the task's own unit on its way into a secure sum.

    The reply's arrays are those that came. The coded sum of clipped gradients goes into the share beside them, in whole
    steps, see `edge.learning.shared`.
    """
    if config.get("steps", 1) != 1 or config.get("sampling-rate", 1.0) != 1:
        raise Refused(
            Refusal.BAD_TASK, "where noise is shared, a round is one step over all examples: no steps, no sampling-rate"
        )
    if "lot-size" not in config:
        raise Refused(Refusal.BAD_TASK, "lot-size is missing: give it, about how many examples a node has")
    plan = _made(RecordPlan, config, RECORD_KEYS)
    largest = terms.plan.weight_bound
    noise = _made(
        partial(plan.noise, protection, task.unit, task.unit_examples, min(1.0, largest) / largest), config, {}
    )
    arrays = {name: array_view(array) for name, array in _arrays(message).items()}
    code = terms.plan.code

    def outcome(examples: Examples) -> Outcome:
        model = _model(task, message)
        summed = summed_examples(model, examples.x, examples.y, task.loss, plan, noise, code, list(arrays))
        return Outcome({}, arrays, summed)

    cost = Cost(MOST_EXAMPLES, 1, _parameters(task), 1)
    return Work(task, _use(TRAIN, task, Mechanism.SHARED_NOISE), _shared_events(task, noise, terms), cost, outcome)


def _shared_events(task: Task, noise: SharedNoise, terms: SumTerms) -> list[Event]:
    elements = sum(values.numel() for values in task.model().state_dict().values())
    try:
        return [noise.event(terms.plan.code, elements)]
    except NoRoom as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why


def _config(message: Message) -> ConfigRecord:
    configs, arrays = config_records(message.content), array_records(message.content)
    if len(configs) != 1 or len(arrays) != 1:
        raise Refused(Refusal.BAD_TASK, f"expected one config and one array record, got {list(message.content)}")
    return next(iter(configs.values()))


def _arrays(message: Message) -> Mapping[str, Any]:
    return next(iter(array_records(message.content).values()))


def _plan(config: ConfigRecord) -> DpSgdPlan:
    return _made(DpSgdPlan, config, PLAN_KEYS)


def _made(kind: Callable[..., Made], config: ConfigRecord, keys: Mapping[str, str]) -> Made:
    """What a `[train]` table asks for, of one kind; its keys set fields of that."""
    given: dict[str, Any] = {field: config[key] for key, field in keys.items() if key in config}
    try:
        return kind(**given)
    except (TypeError, ValueError) as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why


def _use(verb: str, task: Task, *mechanisms: Mechanism) -> Use:
    return Use.of(f"{verb} {task.name}", task.sources, mechanisms)


def _parameters(task: Task) -> int:
    return sum(parameter.numel() for parameter in task.model().parameters())


def _model(task: Task, message: Message) -> torch.nn.Module:
    """The task's model with the values that the task brought."""
    model = task.model()
    model.load_state_dict(_arrays(message).to_torch_state_dict())  # type: ignore[attr-defined]
    _check_values(model)
    return model


def _check_model(task: Task, message: Message) -> None:
    try:
        _model(task, message)
    except OutOfBounds as why:
        raise Refused(Refusal.BAD_MODEL, str(why)) from why
    except Exception as why:  # whatever torch and Flower make of arrays that an attacker wrote
        raise Refused(Refusal.BAD_MODEL, f"the arrays do not fit the task's model: {why}") from why


def _check_values(model: torch.nn.Module) -> None:
    """Raise OutOfBounds if a value of the model is not finite or is beyond `MOST_WEIGHT`; make denormal numbers 0.

    Arithmetic on denormal numbers is slow and inexact; a model that was trained has no need of them.
    """
    for name, values in model.state_dict().items():
        largest = float(values.abs().max()) if values.numel() else 0.0
        if not math.isfinite(largest) or largest > MOST_WEIGHT:
            raise OutOfBounds(
                f"the model's {name} holds {largest:g}; this node accepts finite values up to {MOST_WEIGHT:g}: ask for "
                "a good start model"
            )
        if values.is_floating_point():
            values[values.abs() < torch.finfo(values.dtype).tiny] = 0.0


def _metrics(task: Task, model: torch.nn.Module, examples: Examples, plan: DpSgdPlan) -> dict[str, float]:
    """Noised error of the model as it arrived, on this node's own examples."""
    with torch.no_grad():
        errors = task.error(task.forecast(model(examples.x)), examples.y)
    noised = noised_metrics(errors.numpy(), task.error_bound, plan.metrics_noise_multiplier, task.unit_examples)
    return {"error-sum": noised.error_sum, "error-count": noised.count}
