"""How good probabilities are, and between which bounds chance could have put that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
DRAWS = 500

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Probabilities of one held-out place, and what was so.

    Attributes:
        near: 1 or 0, [n].
        probability: [n].
        threshold: from which on "near" is said; chosen without this place.
        groups: windows of one group are not independent, [n].
    """

    near: Array
    probability: Array
    threshold: float
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.near) == len(self.probability) == len(self.groups):
            raise ValueError(f"{len(self.near)} windows, {len(self.probability)} judged, {len(self.groups)} grouped")


@dataclass(frozen=True, slots=True)
class Bounded:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"

    @property
    def short(self) -> str:
        """For narrow columns."""
        value, low, high = f"{self.value:.3f}", f"{self.low:.2f}", f"{self.high:.2f}"
        return " ".join([value.removeprefix("0"), "–".join(end.removeprefix("0") for end in (low, high))])


def auc(near: Array, probability: Array, weight: Array | None = None) -> float:
    """Probability that a near window is ranked over a far one, ties half; NaN where there are none of one kind."""
    weight = np.ones(len(near)) if weight is None else weight
    _, rank = np.unique(probability, return_inverse=True)
    far = np.bincount(rank, weight * (1 - near))
    hits = np.bincount(rank, weight * near)
    pairs = far.sum() * hits.sum()
    return float((hits * (np.cumsum(far) - far / 2)).sum() / pairs) if pairs > 0 else float("nan")


def ndcf(near: Array, probability: Array, threshold: float, weight: Array | None = None) -> float:
    """Pmiss + Pfa, the normalised detection cost of NIST's TC4TL challenge; 1 is chance, 0 is perfect."""
    weight = np.ones(len(near)) if weight is None else weight
    said = probability >= threshold
    near_weight, far_weight = weight * near, weight * (1 - near)
    if min(near_weight.sum(), far_weight.sum()) <= 0:
        return float("nan")
    return float(near_weight[~said].sum() / near_weight.sum() + far_weight[said].sum() / far_weight.sum())


def calibration_error(near: Array, probability: Array, weight: Array | None = None) -> float:
    """Expected calibration error over `BINS` equal bins: how far what is said is from how often it is so."""
    weight = np.ones(len(near)) if weight is None else weight
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    said, so = np.bincount(bins, weight * probability, BINS), np.bincount(bins, weight * near, BINS)
    return float(np.abs(said - so).sum() / weight.sum())


def balanced_threshold(near: Sequence[Array], probability: Sequence[Array]) -> float:
    """Where a near and a far window of the same place are as likely, of training places.

    Least Pmiss + Pfa is at a likelihood ratio of 1 (Duda, Hart and Stork, 2.3). A logistic regression of one number,
    the logit's shift, with both classes of every place weighing the same finds it with less variance than searching
    for the threshold that happens to be best.
    """
    shift = 0.0
    logits = [np.log(p / (1 - p)) for p in (np.clip(p, 1e-9, 1 - 1e-9) for p in probability)]
    for _ in range(50):
        slope = curvature = 0.0
        for y, logit in zip(near, logits, strict=True):
            weight = np.where(y == 1, 0.5 / max(y.mean(), 1e-9), 0.5 / max(1 - y.mean(), 1e-9)) / len(y)
            said = 1 / (1 + np.exp(shift - logit))
            slope += float((weight * (said - y)).sum())
            curvature += float((weight * said * (1 - said)).sum())
        step = slope / max(curvature, 1e-9)
        shift += float(np.clip(step, -2, 2))
    return float(1 / (1 + np.exp(-shift)))


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one model on held-out places.

    Attributes:
        auc: mean over places, [0, 1].
        ndcf: mean over places, at each place's threshold.
        calibration_error: of all places' windows together.
        place_calibration_error: mean over places; it holds what a place's share of near windows differs by as well.
        balanced_accuracy: mean over places; 1 - ndcf / 2.
    """

    auc: Bounded
    ndcf: Bounded
    calibration_error: Bounded
    place_calibration_error: Bounded
    balanced_accuracy: Bounded


def judge(places: Sequence[Judged], seed: int = 0, draws: int = DRAWS, *, redraw_places: bool = True) -> Figures:
    """Figures and their intervals: percentiles of a bootstrap that draws places, and groups within them.

    Args:
        redraw_places: whether places are drawn as well; else only groups, the places being all that there are.
    """
    random = np.random.default_rng(seed)
    whole = _figures(places, [np.ones(len(place.near)) for place in places])
    members = [np.unique(place.groups, return_inverse=True)[1] for place in places]
    drawn = []
    for _ in range(draws):
        chosen = random.integers(len(places), size=len(places)) if redraw_places else np.arange(len(places))
        weights = []
        for number in chosen:
            groups = int(members[number].max()) + 1
            weights.append(np.bincount(random.integers(groups, size=groups), minlength=groups)[members[number]] * 1.0)
        drawn.append(_figures([places[number] for number in chosen], weights))
    low, high = np.nanpercentile(np.array(drawn), [2.5, 97.5], axis=0)
    return Figures(*(Bounded(*map(float, bounds)) for bounds in zip(whole, low, high, strict=True)))


def gain(better: Sequence[Judged], than: Sequence[Judged], seed: int = 0, draws: int = DRAWS) -> Bounded:
    """How much higher the mean AUC of one model is than another's, on the same windows; pairs of phones are redrawn."""

    def mean_auc(places: Sequence[Judged], weights: Sequence[Array]) -> float:
        return float(np.nanmean([auc(p.near, p.probability, w) for p, w in zip(places, weights, strict=True)]))

    random = np.random.default_rng(seed)
    members = [np.unique(place.groups, return_inverse=True)[1] for place in better]
    drawn = []
    for _ in range(draws):
        weights: list[Array] = []
        for member in members:
            groups = int(member.max()) + 1
            times = np.bincount(random.integers(groups, size=groups), minlength=groups)
            weights.append(times[member].astype(np.float64))
        drawn.append(mean_auc(better, weights) - mean_auc(than, weights))
    ones: list[Array] = [np.ones(len(place.near)) for place in better]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Bounded(mean_auc(better, ones) - mean_auc(than, ones), float(low), float(high))


def mean_figures(several: Sequence[Figures]) -> Figures:
    """Of several draws of noise: the mean figure, between the lowest and the highest bound of any."""

    def over(pick: Callable[[Figures], Bounded]) -> Bounded:
        bounds = [pick(one) for one in several]
        return Bounded(
            float(np.mean([b.value for b in bounds])), min(b.low for b in bounds), max(b.high for b in bounds)
        )

    return Figures(
        over(lambda f: f.auc),
        over(lambda f: f.ndcf),
        over(lambda f: f.calibration_error),
        over(lambda f: f.place_calibration_error),
        over(lambda f: f.balanced_accuracy),
    )


def _figures(places: Sequence[Judged], weights: Sequence[Array]) -> tuple[float, ...]:
    costs = [ndcf(p.near, p.probability, p.threshold, w) for p, w in zip(places, weights, strict=True)]
    cost = float(np.nanmean(costs))
    near = np.concatenate([place.near for place in places])
    said = np.concatenate([place.probability for place in places])
    return (
        float(np.nanmean([auc(p.near, p.probability, w) for p, w in zip(places, weights, strict=True)])),
        cost,
        calibration_error(near, said, np.concatenate(weights)),
        float(np.mean([calibration_error(p.near, p.probability, w) for p, w in zip(places, weights, strict=True)])),
        1 - cost / 2,
    )
