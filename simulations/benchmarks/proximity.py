"""`jaga-sim bench proximity`: how well two metres are told by radio; central, federated, and federated under privacy.

On exp34 every scene is held out in turn; nothing of it is used, not for weights, thresholds, corrections or the choice
of a recipe. A node is a phone, and its privacy unit everything that it heard in one window of 150 seconds. On NIST's
recordings one Pi is held out. Federated figures go through the node's own mechanism (`edge.learning.dpsgd.train`) and
FedAvg's mean.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from edge.learning.tasks.task import Task, load_task
from edge.proximity.calibration import Prior, estimate
from edge.proximity.closeness import NEAR_M, WINDOW_S, Closeness
from edge.proximity.features import PHONE_FRAMES
from simulations.benchmarks.proximity_figures import Bounded, Figures, Judged, gain, judge, mean_figures
from simulations.benchmarks.proximity_models import (
    DELTA,
    FEDERATED_THRESHOLD,
    PLAIN,
    RECIPES,
    ROUNDS,
    UNCALIBRATED,
    Recipe,
    Scenes,
    Setting,
    federated,
)
from simulations.benchmarks.proximity_nist import (
    held_out_device,
    held_out_device_and_distance,
    held_out_device_federated,
    single_frames,
)
from simulations.benchmarks.table import Column, Outcome, Target
from simulations.datasets.exp34 import SOURCE, load_exp34
from simulations.datasets.nist import DEVICES, load_nist
from simulations.datasets.windows import scene_windows, stretch_windows

EPSILONS = (8.0, 4.0, 1.0)

COLUMNS = (
    Column("data", "data"),
    Column("model", "model"),
    Column("epsilon", "eps", "g"),
    Column("auc", "AUC 95 %"),
    Column("ndcf", "nDCF 95 %"),
    Column("ece", "ECE 95 %"),
    Column("balanced", "bal. acc. 95 %"),
)
NOTES = (
    "AUC, nDCF = Pmiss + Pfa, balanced accuracy: mean over held-out places (scenes; Pis), each at a threshold found "
    f"without it (federated: {FEDERATED_THRESHOLD}). ECE: of all places' windows together.",
    "Two features: loudness and reception. Three: and standing among what the phone hears. Central: the recipe of six "
    "that is best inside the training scenes. New distance: neither the Pi nor the distance was learnt from.",
    "95 %: bootstrap that draws places, then pairs of phones (both directions together); of NIST, distances.",
    "Federated, exp34: a node is a phone, a unit all that it heard in one window of 150 s, at most ten examples of it. "
    "Nodes train on RSSI as it is; what phones add is taken off locally when the model is used.",
    "Calibrated: what each phone adds is estimated in the training scenes, in which the same phones were carried.",
    "The recipes are six; some 160 variants of features, four rules for the threshold and twelve settings of federated "
    "training were looked at on these scenes before.",
)


@dataclass(frozen=True, slots=True)
class AtLeast(Target):
    """A bound from below."""

    @property
    def held(self) -> bool:
        return self.measured >= self.limit

    def __str__(self) -> str:
        verdict = "held" if self.held else "MISSED"
        return f"{verdict}: {self.name}: {self.measured:.3f} of at least {self.limit:g}"


@dataclass(frozen=True, slots=True)
class ProximitySettings:
    """What to measure.

    Attributes:
        exp34, nist: folders of the recordings.
        epsilons: privacy budgets, at `DELTA` a unit.
        draws: how many times each private model is trained with fresh noise.
        bootstrap: how many times windows are drawn for the intervals.
    """

    exp34: Path
    nist: Path
    epsilons: tuple[float, ...] = EPSILONS
    draws: int = 3
    bootstrap: int = 500

    def __post_init__(self) -> None:
        if self.draws < 1 or self.bootstrap < 2:
            raise ValueError(f"draws is {self.draws} and bootstrap {self.bootstrap}; at least 1 and 2 are needed")


def run_proximity(settings: ProximitySettings, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Measure.

    Raises:
        BadExp34, BadNist: recordings are missing or not what they should be.
    """
    torch.set_num_threads(1)
    task = load_task("proximity")
    tell("windows of the recordings")
    scenes = Scenes({scene.name: scene_windows(scene) for scene in load_exp34(settings.exp34)})
    stretches = load_nist(settings.nist)
    rows: list[dict[str, object]] = []
    tell("central models, each scene held out in turn")
    plain = held_out_scenes(scenes, PLAIN)
    chosen = held_out_scenes(scenes, None)
    named: list[tuple[str, list[Judged]]] = [
        ("two features", plain),
        ("three features", held_out_scenes(scenes, UNCALIBRATED)),
        ("central", chosen),
    ]
    for name, judged in named:
        rows.append(_row("exp34", name, None, judge(judged, draws=settings.bootstrap)))
    central = judge(chosen, draws=settings.bootstrap)
    for epsilon, figures in _federated_scenes(task, scenes, settings, tell):
        rows.append(_row("exp34", "federated", epsilon, figures))
    tell("NIST's Pis")
    pis = {d: stretch_windows([stretch for stretch in stretches if stretch.device == d]) for d in DEVICES}

    def of_pis(judged: Sequence[Judged]) -> Figures:
        return judge(judged, draws=settings.bootstrap, redraw_places=False)

    device = of_pis(held_out_device(pis))
    rows.append(_row("NIST", "single frames", None, of_pis(single_frames(stretches)), ece=False))
    rows.append(_row("NIST", "central", None, device))
    rows.append(_row("NIST", "new distance", None, of_pis(held_out_device_and_distance(pis)), ece=False))
    for epsilon in (None, *settings.epsilons):
        plan = Setting().plan(0.0) if epsilon is None else Setting().within(epsilon, task.unit_examples)
        draws = range(1 if epsilon is None else settings.draws)
        several = [of_pis(held_out_device_federated(task, pis, plan)) for _ in draws]
        rows.append(_row("NIST", "federated", epsilon, mean_figures(several)))
    more = gain(chosen, plain, draws=settings.bootstrap)
    return Outcome(
        name="proximity",
        columns=COLUMNS,
        rows=rows,
        targets=(
            AtLeast("AUC, exp34, scene held out, central", central.auc.value, 0.76),
            Target("nDCF, exp34, scene held out, central", central.ndcf.value, 0.60),
            Target("calibration error, exp34, all held-out windows, central", central.calibration_error.value, 0.05),
            AtLeast("balanced accuracy, NIST, Pi held out, central", device.balanced_accuracy.value, 0.76),
        ),
        setting={
            "python": platform.python_version(),
            "torch": version("torch"),
            "rounds": ROUNDS,
            "delta": DELTA,
            "noise draws": settings.draws,
        },
        notes=(
            *NOTES,
            f"Central against two features, AUC on the same windows: +{more}.",
            "ECE within one scene, mean: "
            f"{central.place_calibration_error}. How many are near differs between scenes, and no radio tells that.",
        ),
    )


def held_out_scenes(scenes: Scenes, recipe: Recipe | None) -> list[Judged]:
    """Every scene, by a model of the others; without a recipe, by the one that is best among the others."""
    names = frozenset(scenes.places)
    return [scenes.held_out(recipe or scenes.chosen(names - {name}), name, names - {name}) for name in sorted(names)]


def _federated_scenes(
    task: Task, scenes: Scenes, settings: ProximitySettings, tell: Callable[[str], None]
) -> list[tuple[float | None, Figures]]:
    names = frozenset(scenes.places)
    calibrated = max(recipe.prior or 0.0 for recipe in RECIPES)
    nodes = {name: [task.examples(unit) for unit in scenes.units(names - {name}).values()] for name in sorted(names)}
    found: list[tuple[float | None, Figures]] = []
    for epsilon in (None, *settings.epsilons):
        tell("federated, no privacy" if epsilon is None else f"federated, epsilon {epsilon:g}")
        plan = Setting().plan(0.0) if epsilon is None else Setting().within(epsilon, task.unit_examples)
        several = []
        for _ in range(1 if epsilon is None else settings.draws):
            judged = []
            for name in sorted(names):
                model = federated(task, nodes[name], plan)
                said = model.probabilities(scenes.features(name, names - {name}, calibrated))
                judged.append(Judged(scenes.near(name), said, FEDERATED_THRESHOLD, scenes.places[name].groups))
            several.append(judge(judged, draws=settings.bootstrap))
        found.append((epsilon, mean_figures(several)))
    return found


def _row(data: str, model: str, epsilon: float | None, figures: Figures, *, ece: bool = True) -> dict[str, object]:
    def ends(figure: Bounded) -> list[float]:
        return [figure.value, figure.low, figure.high]

    return {
        "data": data,
        "model": model,
        "epsilon": epsilon,
        "auc": figures.auc.short,
        "ndcf": figures.ndcf.short,
        "ece": figures.calibration_error.short if ece else None,
        "balanced": figures.balanced_accuracy.short,
        "auc_bounds": ends(figures.auc),
        "ndcf_bounds": ends(figures.ndcf),
        "ece_bounds": ends(figures.calibration_error) if ece else None,
        "place_ece_bounds": ends(figures.place_calibration_error) if ece else None,
        "balanced_bounds": ends(figures.balanced_accuracy),
    }


def packaged_model(folder: Path) -> Closeness:
    """The model that nodes come with: of all six scenes, by the recipe that is best where each is held out in turn.

    Equal recordings give an equal model.

    Raises:
        BadExp34: recordings are missing or not what they should be.
    """
    scenes = Scenes({scene.name: scene_windows(scene) for scene in load_exp34(folder)})
    names = frozenset(scenes.places)
    figures = judge(held_out_scenes(scenes, None))
    recipe = scenes.chosen(names)
    model, threshold = scenes.centrally(recipe, names)
    if recipe.prior is None:
        prior = max(one.prior or 0.0 for one in RECIPES)
        curve = estimate((r for place in scenes.places.values() for r in place.readings()), Prior(prior, prior)).curve
    else:
        curve = scenes.corrections(names, recipe.prior).curve
    windows = sum(len(place.windows) for place in scenes.places.values())
    near = float(np.mean(np.concatenate([scenes.near(name) for name in sorted(names)])))
    shares = [float(scenes.near(name).mean()) for name in names]
    off = figures.place_calibration_error.value
    return Closeness(
        weights=tuple(float(weight) for weight in (model.weights * recipe.used).round(6)),
        intercept=round(model.intercept, 6),
        threshold=round(threshold, 6),
        curve=type(curve)(round(curve.level_dbm, 4), round(curve.fall_db, 4)),
        frames_per_window=PHONE_FRAMES,
        card={
            "says": f"probability that the median distance over {WINDOW_S:g} s was at most {NEAR_M:g} m",
            "made by": "jaga-sim bench proximity --write-model",
            "recipe": recipe.name,
            "data": f"{SOURCE} (CC BY-ND 4.0): six scenes, 18 phones of one maker, {windows} windows, {near:.2f} near",
            "figures, each scene held out in turn (95 %)": {
                "AUC, mean over scenes": str(figures.auc),
                "Pmiss + Pfa, mean over scenes": str(figures.ndcf),
                "calibration error, all windows": str(figures.calibration_error),
                "calibration error, mean over scenes": str(figures.place_calibration_error),
            },
            "limits": [
                "Without a correction it holds for phones like those it was fitted to and for no other radio: a node "
                "is calibrated first (jaga-node calibrate).",
                f"How many of those heard are near differs by place, from {min(shares):.2f} to {max(shares):.2f} in "
                f"these scenes; within one scene a probability is off by {off:.2f} on average.",
                "Phones scan for 4 seconds every few minutes; for a radio that scans all the time it was not measured.",
                "Adults, one day, one kind of phone; no children, no walls, no tags on lanyards.",
            ],
        },
    )
