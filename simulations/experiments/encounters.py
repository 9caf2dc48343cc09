"""How well encounters are found: exactly where radio is perfect, and how far off where it is as people measured it.

    python -m simulations.experiments.encounters primaryschool.csv hospital_lyon_contacts.dat --exp34 FOLDER

The unit is a pair-day: two people who were within reach of each other for 15 minutes or more in total on one day.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edge.sensing.advertisement import Advertisement
from edge.sensing.contacts import Contact, read_contacts
from edge.sensing.sightings import fold
from edge.store.database import KEY_BYTES, Database
from edge.store.sightings import Sightings
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S
from edge.store.tags import Tag
from edge.tracing.attenuation import TX_POWER_DBM, AttenuationWeights
from edge.tracing.encounters import Nearness
from edge.tracing.heard import PERIOD_S, Heard
from edge.tracing.nearness import PathLoss
from edge.tracing.register import Known, Register
from privacy.logs import configure_process
from privacy.tokens.tags import identifiers
from simulations.datasets.exp34 import load_exp34
from simulations.experiments.fixed_nodes import FACING_DBM, in_rooms, in_zones
from simulations.experiments.pair_days import LONG_MINUTES, PairDay, Score, long_ones, true_minutes
from simulations.world.radio import WORN, RadioModel
from simulations.world.scans import best_cut_dbm, link_scans
from simulations.world.seats import Pairs, people_of, slots

NEAR_M = 2.0
"""What counts as near where seats are made up, metres."""

EVERYBODY = "everybody in the room"
"""What needs no radio: all who were in one room for 15 minutes."""

CUTS_DB = (54.0, 57.0, 60.0, 63.0, 66.0)
HINDSIGHT_MINUTES = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0)


def enrolled(people: Sequence[str]) -> Register:
    """A tag for everybody, as if the site had handed them out."""
    return Register.of(Tag(person, person.encode().rjust(32, b"\0"), 0.0) for person in people)


# The reference: perfect radio, the whole way through store and register.


@dataclass(slots=True)
class WornNode:
    """A node that one person wears: their own store, and the tags that it hears over a perfect radio."""

    wearer: str
    database: Database
    secrets: dict[str, bytes]
    _shown: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)

    def hear(self, contacts: Sequence[Contact]) -> None:
        """Log the wearer's contacts, in time order."""
        connection = self.database.connect()
        Sightings(connection).add(fold(self._advertisements(contacts)), logged_at=0.0)
        connection.close()

    def minutes(self, known_on: Callable[[int], Known]) -> Iterator[tuple[PairDay, float]]:
        """The wearer's encounters with tags of the register, from the store."""
        connection = self.database.connect()
        nearness = Nearness("person", wearer=self.wearer)
        sightings = Sightings(connection)
        for day in sightings.days():
            known = known_on(day)
            heard = Heard.of(sightings.between(day * DAY_S, (day + 1) * DAY_S), known, tx_power_dbm=TX_POWER_DBM)
            for pair in nearness.encounters(day, known.labels, [heard]).pairs:
                yield (day, pair.a, pair.b), pair.minutes
        connection.close()

    def _advertisements(self, contacts: Sequence[Contact]) -> Iterator[Advertisement]:
        for contact in contacts:
            other = contact.b if contact.a == self.wearer else contact.a
            day, period = contact.t // DAY_S, contact.t % DAY_S // PERIOD_S
            if (other, day) not in self._shown:
                self._shown[other, day] = identifiers(self.secrets[other], day)
            yield Advertisement(self._shown[other, day][period], float(contact.t), int(FACING_DBM))


def through_worn_nodes(contacts: Sequence[Contact], folder: Path) -> dict[PairDay, float]:
    """Minutes of each pair and day that a node on everybody finds; both wearers of a pair must agree.

    Raises:
        ArithmeticError: two wearers disagree about their minutes.
    """
    people, _ = people_of(contacts)
    register = enrolled(people)
    secrets = {tag.label: tag.secret for tag in register.tags}
    known_on = cache(lambda day: register.known(day * DAY_S, (day + 1) * DAY_S))
    mine: dict[str, list[Contact]] = defaultdict(list)
    for contact in contacts:
        mine[contact.a].append(contact)
        mine[contact.b].append(contact)
    found: dict[PairDay, list[float]] = defaultdict(list)
    empty = Database(folder / "empty.db", bytes(KEY_BYTES))
    empty.connect().close()
    for person in people:
        database = Database(folder / "node.db", empty.key)
        shutil.copy(empty.path, database.path)
        shutil.copy(empty.key_id_path, database.key_id_path)
        node = WornNode(person, database, secrets)
        node.hear(mine[person])
        for pair, minutes in node.minutes(known_on):
            found[pair].append(minutes)
        for file in folder.glob("node.db*"):
            file.unlink()
    for pair, both in found.items():
        if len(both) != 2 or abs(both[0] - both[1]) > 1e-3:
            raise ArithmeticError(f"wearers of {pair} found {both} minutes")
    return {pair: both[0] for pair, both in found.items()}


# With errors: what each wearer's node would hear, straight into columns.


@dataclass(frozen=True, slots=True)
class Way:
    """One way of calling a pair-day long.

    Attributes:
        weights: of attenuation.
        minutes: weighted, from which on it is long.
    """

    name: str
    weights: AttenuationWeights
    minutes: float = LONG_MINUTES


def bucket(cut_db: float, minutes: float = LONG_MINUTES, *, tuned: bool = False) -> Way:
    """One bucket: up to so much attenuation a minute counts, beyond it does not."""
    name = f"{cut_db:.0f} dB or less" + (f" for {minutes:.0f} min (tuned)" if tuned else "")
    return Way(name, AttenuationWeights((cut_db - 2, cut_db - 1, cut_db), (1.0, 1.0, 1.0, 0.0)), minutes)


@dataclass(frozen=True, slots=True)
class Worn:
    """What all wearers' nodes found over a radio with errors.

    Attributes:
        minutes: by way, then by wearer and pair-day: a pair-day counts once for each of the two.
        truth: long pair-days, by what is meant.
    """

    minutes: dict[str, dict[tuple[str, PairDay], float]]
    truth: dict[str, set[PairDay]]

    def scores(self, data: str, ways: Sequence[Way], seed: int) -> list[Score]:
        """Of each way, against each truth."""
        found = []
        for way in ways:
            long = [pair for (_, pair), those in self.minutes[way.name].items() if those >= way.minutes - 1e-3]
            for name, truth in self.truth.items():
                right = sum(pair in truth for pair in long)
                found.append(Score(data, f"worn, {way.name}", name, seed, len(long), right, 2 * len(truth)))
        return found


def heard_by_all(
    pairs: Sequence[Pairs], radio: RadioModel, people: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[str, Heard]]:
    """What the node of each person heard on one day, with the radio's errors; a link's share lasts the whole day."""
    window = np.concatenate([one.window for one in pairs])
    a, b = (np.concatenate([getattr(one, side) for one in pairs]) for side in ("a", "b"))
    distance = np.concatenate([one.distance_m for one in pairs])
    of_link = radio.links(len(people), rng)
    columns: list[NDArray[np.float64]] = []
    for wearer, other in ((a, b), (b, a)):
        level = radio.levels(distance, of_link[wearer, other], rng)
        there = np.isfinite(level)
        columns.append(np.stack([wearer[there], window[there], other[there], level[there]], axis=1))
    rows = np.concatenate(columns)
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    edges = np.searchsorted(rows[:, 0], np.arange(len(people) + 1))
    for person, name in enumerate(people):
        mine = rows[edges[person] : edges[person + 1]]
        yield (
            name,
            Heard(
                tuple(people),
                mine[:, 1].astype(np.int64),
                np.zeros(len(mine), np.uint8),
                mine[:, 2].astype(np.int64),
                mine[:, 3],
                np.full(len(mine), TX_POWER_DBM),
            ),
        )


def worn_with_errors(
    contacts: Sequence[Contact], radio: RadioModel, ways: Sequence[Way], seed: int, *, all_day: bool = False
) -> Worn:
    """Each wearer's own table; `all_day`: people keep their seats for a day."""
    rng = np.random.default_rng(seed)
    people, _ = people_of(contacts)
    minutes: dict[str, dict[tuple[str, PairDay], float]] = {way.name: {} for way in ways}
    near: Counter[PairDay] = Counter()
    reach: Counter[PairDay] = Counter()
    for day, pairs in _by_day(contacts, rng, all_day):
        for one in pairs:
            for close, total in ((one.distance_m <= NEAR_M, near), (one.distance_m < np.inf, reach)):
                numbers, windows = np.unique(one.a[close] * len(people) + one.b[close], return_counts=True)
                for number, count in zip(numbers.tolist(), windows.tolist(), strict=True):
                    total[day, people[number // len(people)], people[number % len(people)]] += count
        for wearer, heard in heard_by_all(pairs, radio, people, rng):
            for way in ways:
                nearness = Nearness("person", weights=way.weights, wearer=wearer)
                for pair in nearness.encounters(day, people, [heard]).pairs:
                    minutes[way.name][wearer, (day, pair.a, pair.b)] = pair.minutes
    within, shared = ({pair: n * WINDOW_S / 60 for pair, n in total.items()} for total in (near, reach))
    minutes[EVERYBODY] = {(one, pair): those for pair, those in shared.items() for one in pair[1:]}
    return Worn(minutes, {"contact": long_ones(true_minutes(contacts)), "2 m": long_ones(within)})


def tuned(worn: Worn, ways: Sequence[Way]) -> Way:
    """The cut and the minutes that do best (F1, contact) on these very data: no site could know them."""
    best = max(
        (
            (score.f1, cut, minutes)
            for way, cut in zip(ways, CUTS_DB, strict=True)
            for minutes in HINDSIGHT_MINUTES
            for score in worn.scores("", [Way(way.name, way.weights, minutes)], 0)[:1]
        ),
        key=lambda one: one[0],
    )
    return bucket(best[1], best[2], tuned=True)


def _by_day(contacts: Sequence[Contact], rng: np.random.Generator, all_day: bool) -> Iterator[tuple[int, list[Pairs]]]:
    days: dict[int, list[Pairs]] = {}
    for slot in slots(contacts, rng, all_day=all_day):
        days.setdefault(slot.number * SLOT_S // DAY_S, []).append(slot.pairs(rng))
    yield from days.items()


def main(
    paths: Annotated[list[Path], typer.Argument(help="SocioPatterns files with zones")],
    *,
    exp34: Annotated[
        Path | None, typer.Option(help="folder of DP-3T's exp34 tables; none: the perfect radio alone")
    ] = None,
    seeds: int = 3,
    all_day: Annotated[bool, typer.Option(help="people keep their seats for a day, not for half an hour")] = False,
    rooms: Annotated[bool, typer.Option(help="the room mode too")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here as well")] = None,
) -> None:
    """Exit status 0 where, over a perfect radio, worn nodes find exactly the pair-days of the data."""
    scores: list[Score] = []
    exact = True
    for path in paths:
        contacts = read_contacts(path)
        truth = long_ones(true_minutes(contacts))
        with tempfile.TemporaryDirectory() as folder:
            found = long_ones(through_worn_nodes(contacts, Path(folder)))
        exact = exact and found == truth
        right = len(found & truth)
        scores.append(Score(path.name, "worn, perfect radio", "contact", 0, len(found), right, len(truth)))
        scores.append(in_zones(path.name, contacts))
        if exp34 is not None:
            scores += with_errors(path.name, contacts, exp34, seeds, all_day)
        if rooms:
            scores += [in_rooms(path.name, contacts, seed, PathLoss()) for seed in range(1, seeds + 1)]
    table = Table("data", "way", "truth", "seed", "found", "right", "of", "precision", "recall")
    for one in scores:
        counts = (one.seed, one.found, one.right, one.true)
        table.add_row(one.data, one.way, one.truth, *map(str, counts), f"{one.precision:.3f}", f"{one.recall:.3f}")
    Console(width=130).print(table)
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(one) for one in scores], indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(0 if exact else 1)


def with_errors(name: str, contacts: Sequence[Contact], exp34: Path, seeds: int, all_day: bool) -> list[Score]:
    """The node's default, one cut that exp34 itself suggests for 2 m, and what could be had in hindsight."""
    scans = link_scans(load_exp34(exp34))
    grid = [bucket(cut) for cut in CUTS_DB]
    best = tuned(worn_with_errors(contacts, WORN, grid, seed=0, all_day=all_day), grid)
    ways = [
        Way("default weights", AttenuationWeights()),
        bucket(TX_POWER_DBM - best_cut_dbm(scans, NEAR_M)),
        best,
    ]
    rows = [Way(EVERYBODY, AttenuationWeights()), *ways]
    return [
        score
        for seed in range(1, seeds + 1)
        for score in worn_with_errors(contacts, WORN, ways, seed, all_day=all_day).scores(name, rows, seed)
    ]


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
