"""Sites for `simulations.experiments.outbreaks`: true contacts, and what nodes would have found of them.

Nodes find encounters by their own code (`edge.tracing.encounters`, which exposures rest on), from what a radio would
have heard, as `simulations.experiments.encounters` has it: worn nodes with exp34's errors; a node a zone over a perfect
radio; four receivers a room with 5 dB of shadowing. Where people sat is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.tracing.attenuation import AttenuationWeights
from edge.tracing.nearness import PathLoss
from simulations.epidemics.network import TemporalNetwork, recorded_days
from simulations.epidemics.sources import Site
from simulations.experiments.encounters import Way, worn_with_errors
from simulations.experiments.fixed_nodes import room_minutes, zone_minutes
from simulations.world.radio import RadioModel
from simulations.world.seats import people_of

MODES = ("person", "zone", "room")
DEFAULT = Way("default weights", AttenuationWeights())

Found = Iterable[tuple[int, str, str, float]]
"""Day of the data, a case, somebody else, and the minutes that are found between them."""


def site_of(name: str, contacts: Sequence[Contact], radio: RadioModel | None, draws: int) -> Site:
    """A site where all people carry tags; who does not is left out later.

    Args:
        radio: of worn nodes; None: the mode `person` is left out.
        draws: of seats and of the radio's errors; zones are heard perfectly, and need one.

    Raises:
        ValueError: no contacts or no draws.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}: it is at least 1")
    network = TemporalNetwork.of(contacts)
    people, zones = people_of(contacts)
    names = sorted(set(zones.values()))
    zone = np.array([names.index(zones[person]) for person in people])
    days = recorded_days(contacts)

    def table(found: Found) -> NDArray[np.float32]:
        return _table(found, days, people)

    sensed = {
        "zone": np.stack([table(_both_ways(zone_minutes(contacts)))]),
        "room": np.stack([table(_both_ways(room_minutes(contacts, draw, PathLoss()))) for draw in range(draws)]),
    }
    if radio is not None:
        sensed["person"] = np.stack([table(_worn(contacts, radio, draw)) for draw in range(draws)])
    return Site(name, network, zone, network.minutes(), {mode: sensed[mode] for mode in MODES if mode in sensed})


def _worn(contacts: Sequence[Contact], radio: RadioModel, seed: int) -> Found:
    """What each wearer's node finds about the other: the wearer is the one who is told."""
    for (wearer, (day, a, b)), minutes in (
        worn_with_errors(contacts, radio, [DEFAULT], seed).minutes[DEFAULT.name].items()
    ):
        yield day, b if wearer == a else a, wearer, minutes


def _both_ways(pair_days: dict[tuple[int, str, str], float]) -> Found:
    for (day, a, b), minutes in pair_days.items():
        yield day, a, b, minutes
        yield day, b, a, minutes


def _table(found: Found, days: range, people: Sequence[str]) -> NDArray[np.float32]:
    """[days, cases, people], minutes; days that the loop leaves out are left out."""
    number = {person: at for at, person in enumerate(people)}
    table = np.zeros((len(days), len(people), len(people)), np.float32)
    for day, case, other, minutes in found:
        if day in days:
            table[day - days.start, number[case], number[other]] = minutes
    return table
