"""Jaga's Flower ClientApp: trains the task that is asked for, and pays for it in the ledger before it begins.

A reply holds the new arrays and four numbers: `num-examples` is 1 for every node (a site's exact count stays there;
larger sites weigh more through their larger summed gradients), `error-sum` and `error-count` are noised, and `epsilon`
is the ledger's total, which depends on the mechanisms that ran and not on the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from edge.learning.dpsgd import DpSgdPlan, NotFinite, noised_metrics, train
from edge.learning.masking import NOISE_WANTED, TERMS_IN_HAND
from edge.learning.plain import PlainPlan, train_plainly
from edge.learning.site import Refused, Site
from edge.learning.tasks.task import Examples, Task, UnknownTask, load_task
from edge.store.reading import reading_only
from privacy.accounting.events import Event
from privacy.accounting.ledger import BudgetSpent
from privacy.boundary.messages import Refusal
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import Use
from privacy.mechanisms.shared_noise import NoRoom, SharedNoise

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

DP_SGD, SHARED_NOISE = "dp-sgd", "shared-noise"
"""Values of `mechanism` in a `[train]` table; the first where it says nothing."""
SITE_KEYS = {"epochs": "epochs", "batch-size": "batch_size", "learning-rate": "learning_rate"}
NOISE_KEYS = {"noise-multiplier": "noise_multiplier", "clip-norm": "clip_norm"}
"""With `mechanism = "shared-noise"`: fields of `PlainPlan` and of `SharedNoise`."""


def app_for(site: Site) -> ClientApp:
    """The app of one node."""
    app = ClientApp()

    @app.train()
    def train_round(message: Message, _context: Context) -> Message:
        config = _config(message)
        if config.get("mechanism", DP_SGD) == SHARED_NOISE:
            return train_site(site, message, _task(config), config)
        task, plan = _task(config), _plan(config)
        events = plan.events(task.unit_examples, task.unit) + plan.metrics_events(task.unit)
        entry = _reserve(site, message, events, TRAIN.of(task))
        examples = _examples(site, task)
        model = _model(task, message)
        metrics = _metrics(task, model, examples, plan)
        try:
            outcome = train(model, examples.x, examples.y, task.loss, plan, task.unit_examples)
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
        metrics = _metrics(task, _model(task, message), _examples(site, task), plan)
        site.ledger.spend(entry)
        metrics["epsilon"] = site.ledger.epsilon()
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def train_site(site: Site, message: Message, task: Task, config: ConfigRecord) -> Message:
    """Training whose whole update is the secret: plain SGD, bounded and noised on its way into a secure sum.

    Nothing else of the node's data is in the reply: no noised error, for that is noised for one unit alone.
    """
    terms = TERMS_IN_HAND.get()
    if terms is None:
        raise Refused(
            Refusal.BAD_TASK, f"{SHARED_NOISE} is for runs with [secure_sum]: alone, this noise is too little"
        )
    plan, noise = _site_plan(config, site.min_cohort)
    elements = sum(parameter.numel() for parameter in task.model().state_dict().values())
    try:
        events = [noise.event(terms.plan.code, elements)]
    except NoRoom as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why
    entry = _reserve(site, message, events, SITE.of(task))
    examples, model = _examples(site, task), _model(task, message)
    state = train_plainly(model, examples.x, examples.y, task.loss, plan)
    NOISE_WANTED.set(noise)
    site.ledger.spend(entry)
    arrays = ArrayRecord({name: Array(values) for name, values in state.items()})
    metrics = MetricRecord({"num-examples": 1.0, "epsilon": site.ledger.epsilon()})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def _site_plan(config: ConfigRecord, cohort: int) -> tuple[PlainPlan, SharedNoise]:
    plan: dict[str, Any] = {field: config[key] for key, field in SITE_KEYS.items() if key in config}
    noise: dict[str, Any] = {field: config[key] for key, field in NOISE_KEYS.items() if key in config}
    try:
        return PlainPlan(**plan), SharedNoise(**noise, cohort=cohort)
    except (TypeError, ValueError) as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why


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
    given: dict[str, Any] = {field: config[key] for key, field in PLAN_KEYS.items() if key in config}
    try:
        return DpSgdPlan(**given)
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
SITE = _Kind("train", (Mechanism.SHARED_NOISE,))


def _examples(site: Site, task: Task) -> Examples:
    with reading_only(site.connection, task.sources):
        records = task.read(site.connection)
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
        errors = (task.forecast(model(examples.x)) - examples.y).abs()
    noised = noised_metrics(errors.numpy(), task.error_bound, plan.metrics_noise_multiplier, task.unit_examples)
    return MetricRecord({"num-examples": 1.0, "error-sum": noised.error_sum, "error-count": noised.count})
