"""How good a model is on the held-out examples of each site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.learning.tasks.task import Examples, Task
from simulations.engine.bench import State
from simulations.world.pretraining import model_with, pooled


@dataclass(frozen=True, slots=True)
class SiteErrors:
    """Errors as the task counts them (`Task.error`).

    Attributes:
        totals: of each site, float64 [sites].
        examples: int64 [sites].
    """

    totals: NDArray[np.float64]
    examples: NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Over all examples."""
        return float(self.totals.sum() / self.examples.sum())

    @property
    def by_site(self) -> NDArray[np.float64]:
        """Means; NaN where a site has no example."""
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = self.totals / self.examples
        return found


class Judge:
    """Keeps the held-out examples side by side.

    Args:
        sites: examples of each.
    """

    def __init__(self, task: Task, sites: Sequence[Examples]) -> None:
        self._task = task
        self._examples = pooled(sites)
        self._counts = np.array([len(site) for site in sites], np.int64)
        self._site = torch.from_numpy(np.repeat(np.arange(len(sites)), self._counts))
        self.baseline = self._errors(task.baseline(self._examples.x))

    def of(self, state: State) -> SiteErrors:
        """One model for all sites."""
        model = model_with(self._task, dict(state))
        with torch.no_grad():
            return self._errors(self._task.forecast(model(self._examples.x)))

    def of_each(self, states: Iterator[State]) -> SiteErrors:
        """A model of its own for every site, in the order of the sites."""
        model, forecasts = self._task.model(), []
        with torch.no_grad():
            for x, state in zip(torch.split(self._examples.x, self._counts.tolist()), states, strict=True):
                model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
                forecasts.append(self._task.forecast(model(x)))
            return self._errors(torch.cat(forecasts))

    def _errors(self, forecast: Tensor) -> SiteErrors:
        apart = self._task.error(forecast, self._examples.y).double()
        totals = torch.zeros(len(self._counts), dtype=torch.float64).index_add_(0, self._site, apart)
        return SiteErrors(totals.numpy(), self._counts)
