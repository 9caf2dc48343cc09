"""Data as a federation has them: a few sites, each with what it learns from and what it is judged on.

A split is fixed by the data alone. It has no seed, and is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.learning.tasks.task import Records


@dataclass(frozen=True, slots=True)
class SiteData:
    """What one node has.

    Attributes:
        name: of the class, ward, department, phone or group of sessions.
        training: what `Task.examples` takes, of the time or the group that is learnt from; may be empty.
        held_out: the same of a later time, or of a group that is held out; never seen in training, may be empty.
    """

    name: str
    training: Records
    held_out: Records

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a site has a name")
        if not (len(self.training) or len(self.held_out)):
            raise ValueError(f"site {self.name!r} has no record, to learn from or to be judged on: leave it out")


class Split(Protocol):
    """What is split over sites: `FederatedData`, and contacts that a demo can replay besides (`Federation`)."""

    @property
    def sites(self) -> tuple[SiteData, ...]: ...


@dataclass(frozen=True, slots=True)
class FederatedData:
    """One data set, split over sites.

    Attributes:
        name: of the data set, `lyon-school` for one.
        task: name of the task that its records are for.
        sites: a node each.
    """

    name: str
    task: str
    sites: tuple[SiteData, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.task:
            raise ValueError(f"federated data have a name and a task, got {self.name!r} and {self.task!r}")
        names = [site.name for site in self.sites]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{self.name}: several sites are called {', '.join(twice)}; every site has its own name")
        if not any(len(site.training) for site in self.sites):
            raise ValueError(f"{self.name}: none of {len(self.sites)} site(s) has a record to learn from")
        if not any(len(site.held_out) for site in self.sites):
            raise ValueError(f"{self.name}: none of {len(self.sites)} site(s) has a record to be judged on")
