"""Jaga's Flower ClientApp: trains the task that is asked for, and pays for it in the ledger before it begins.

A reply holds the new arrays and four numbers: `num-examples` is 1 for every node (a site's exact count stays there;
larger sites weigh more through their larger summed gradients), `error-sum` and `error-count` are noised, and `epsilon`
is the ledger's total, which depends on the mechanisms that ran and not on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from edge.learning import dpsgd
from edge.learning.dpsgd import DpSgdPlan, NotFinite, noised_metrics
from edge.learning.masking import NOISE_WANTED, TERMS_IN_HAND
from edge.learning.plain import PlainPlan, train_plainly
from edge.learning.shared import SHARED_NOISE, Protection, RecordPlan, summed_examples
from edge.learning.site import Refused, Site
from edge.learning.tasks.task import Examples, Task, UnknownTask, load_task
from edge.store.reading import reading_only
from privacy.accounting.events import SITE, Event
from privacy.accounting.ledger import BudgetSpent
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

Made = TypeVar("Made")


def app_for(site: Site) -> ClientApp:
    """The app of one node."""
    app = ClientApp()

    @app.train()
    def train_round(message: Message, _context: Context) -> Message:
        config = _config(message)
        task, protection = _task(config), _protection(config, site.min_cohort)
        if protection.shares:
            train = train_site if protection.unit == SITE else train_records
            return train(site, message, task, config, protection)
        plan = _plan(config)
        events = plan.events(task.unit_examples, task.unit) + plan.metrics_events(task.unit)
        entry = _reserve(site, message, events, TRAIN.of(task))
        examples = _examples(site, task, entry)
        model = _model(task, message)
        metrics = _metrics(task, model, examples, plan)
        try:
            outcome = dpsgd.train(model, examples.x, examples.y, task.loss, plan, task.unit_examples)
        except NotFinite as why:
            raise Refused(Refusal.BAD_MODEL, str(why)) from why
        site.ledger.spend(entry)
        metrics["epsilon"] = site.ledger.epsilon()
        arrays = ArrayRecord({name: Array(values) for name, values in outcome.state.items()})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate_round(message: Message, _context: Context) -> Message:
        config = _config(message)
        task, plan = _task(config), _plan(config)
        entry = _reserve(site, message, plan.metrics_events(task.unit), EVALUATE.of(task))
        metrics = _metrics(task, _model(task, message), _examples(site, task, entry), plan)
        site.ledger.spend(entry)
        metrics["epsilon"] = site.ledger.epsilon()
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def train_site(site: Site, message: Message, task: Task, config: ConfigRecord, protection: Protection) -> Message:
    """Training whose whole update is the secret: plain SGD, bounded and noised on its way into a secure sum.

    Nothing else of the node's data is in the reply: no noised error, for that is noised for one unit alone.
    """
    terms = _terms_in_hand()
    plan = _made(PlainPlan, config, SITE_KEYS)
    noise = _made(partial(SharedNoise, protection.noise_multiplier, cohort=protection.cohort), config, NOISE_KEYS)
    model = _model(task, message)
    entry = _reserve_shared(site, message, task, noise, terms)
    examples = _examples(site, task, entry)
    state = train_plainly(model, examples.x, examples.y, task.loss, plan)
    NOISE_WANTED.set(noise)
    return _shared_reply(site, entry, message, {name: Array(values) for name, values in state.items()})


def train_records(site: Site, message: Message, task: Task, config: ConfigRecord, protection: Protection) -> Message:
    """Distributed DP-SGD: one step over all examples, noised for the task's own unit on its way into a secure sum.

    The reply's arrays are those that came. The coded sum of clipped gradients goes into the share beside them, in whole
    steps, see `edge.learning.shared`.
    """
    terms = _terms_in_hand()
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
    model = _model(task, message)
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise Refused(Refusal.BAD_MODEL, "a parameter of the model is not finite; ask for a good start model")
    entry = _reserve_shared(site, message, task, noise, terms)
    examples, arrays = _examples(site, task, entry), dict(next(iter(message.content.array_records.values())).items())
    code = terms.plan.code
    NOISE_WANTED.set(summed_examples(model, examples.x, examples.y, task.loss, plan, noise, code, list(arrays)))
    return _shared_reply(site, entry, message, arrays)


def _terms_in_hand() -> SumTerms:
    terms = TERMS_IN_HAND.get()
    if terms is None:
        raise Refused(
            Refusal.BAD_TASK, f"{SHARED_NOISE} is for runs with [secure_sum]: alone, this noise is too little"
        )
    return terms


def _reserve_shared(site: Site, message: Message, task: Task, noise: SharedNoise, terms: SumTerms) -> int:
    elements = sum(parameter.numel() for parameter in task.model().state_dict().values())
    try:
        events = [noise.event(terms.plan.code, elements)]
    except NoRoom as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why
    return _reserve(site, message, events, SHARED.of(task))


def _shared_reply(site: Site, entry: int, message: Message, arrays: dict[str, Array]) -> Message:
    site.ledger.spend(entry)
    metrics = MetricRecord({"num-examples": 1.0, "epsilon": site.ledger.epsilon()})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


def _config(message: Message) -> ConfigRecord:
    records = list(message.content.config_records.values())
    if len(records) != 1 or len(message.content.array_records) != 1:
        raise Refused(Refusal.BAD_TASK, f"expected one config and one array record, got {list(message.content)}")
    return records[0]


def _task(config: ConfigRecord) -> Task:
    try:
        return load_task(str(config.get("task", "")))
    except UnknownTask as why:
        raise Refused(Refusal.UNKNOWN_TASK, str(why)) from why


def _plan(config: ConfigRecord) -> DpSgdPlan:
    return _made(DpSgdPlan, config, PLAN_KEYS)


def _protection(config: ConfigRecord, cohort: int) -> Protection:
    try:
        return Protection.of(config, cohort)
    except (TypeError, ValueError) as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why


def _made(kind: Callable[..., Made], config: ConfigRecord, keys: Mapping[str, str]) -> Made:
    """What a `[train]` table asks for, of one kind; its keys set fields of that."""
    given: dict[str, Any] = {field: config[key] for key, field in keys.items() if key in config}
    try:
        return kind(**given)
    except (TypeError, ValueError) as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why


@dataclass(frozen=True, slots=True)
class _Kind:
    verb: str
    mechanisms: tuple[Mechanism, ...]

    def of(self, task: Task) -> Use:
        return Use.of(f"{self.verb} {task.name}", task.sources, self.mechanisms)


TRAIN = _Kind("train", (Mechanism.DP_SGD, Mechanism.NOISED_METRICS))
EVALUATE = _Kind("evaluate", (Mechanism.NOISED_METRICS,))
SHARED = _Kind("train", (Mechanism.SHARED_NOISE,))


def _examples(site: Site, task: Task, entry: int) -> Examples:
    reserved_at = next(one.reserved_at for one in site.ledger.entries() if one.number == entry)
    with reading_only(site.connection, task.sources):
        records = task.read(site.connection, reserved_at - site.ledger.budget.record_lifetime_s, reserved_at)
    return task.examples(records)


def _reserve(site: Site, message: Message, events: Sequence[Event], use: Use) -> int:
    message_id = bytes.fromhex(message.metadata.message_id.replace("-", ""))  # Flower's simulations give it as a UUID
    try:
        return site.ledger.reserve(message_id, use.encode(), events)
    except BudgetSpent as why:
        raise Refused(Refusal.BUDGET_SPENT, str(why)) from why


def _model(task: Task, message: Message) -> torch.nn.Module:
    model = task.model()
    try:
        model.load_state_dict(next(iter(message.content.array_records.values())).to_torch_state_dict())
    except (RuntimeError, ValueError, TypeError) as why:
        raise Refused(Refusal.BAD_MODEL, f"the arrays do not fit the task's model: {why}") from why
    return model


def _metrics(task: Task, model: torch.nn.Module, examples: Examples, plan: DpSgdPlan) -> MetricRecord:
    """Noised error of the model as it arrived, on this node's own examples."""
    with torch.no_grad():
        errors = task.error(task.forecast(model(examples.x)), examples.y)
    noised = noised_metrics(errors.numpy(), task.error_bound, plan.metrics_noise_multiplier, task.unit_examples)
    return MetricRecord({"num-examples": 1.0, "error-sum": noised.error_sum, "error-count": noised.count})
