"""A site's encounters, from its store, its register and its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.config import NodeConfig
from edge.store.connection import Connection
from edge.store.sightings import Sightings
from edge.store.site import Mode, ModeStretch, SiteModes
from edge.store.slots import DAY_S
from edge.store.tags import Tags
from edge.tracing.attenuation import AttenuationWeights
from edge.tracing.calibration import Calibration
from edge.tracing.encounters import Encounters, Nearness
from edge.tracing.heard import PERIOD_S, Heard
from edge.tracing.register import Register
from edge.tracing.rooms import Receiver, Rooms

PART_S = 6 * PERIOD_S
"""A day is read an hour at a time, so that memory holds an hour and not a day."""

WORDS: Mapping[Mode, tuple[str, str]] = {
    "zone": (
        "Zone: this node hangs at a fixed place. It says who was near it at the same time, not who was near whom: two "
        "people on opposite sides of it look the same as two who talk to each other.",
        "Zona: node ini terpasang di satu tempat. Node tahu siapa yang ada di dekatnya pada saat yang sama, bukan "
        "siapa dekat dengan siapa: dua orang di sisi yang berlawanan tampak sama dengan dua orang yang sedang "
        "berbicara.",
    ),
    "room": (
        "Room: several receivers compare how loud each tag is. It says who was probably within 2 m of whom, with a "
        "probability, for people who stay for some minutes. It does not see short meetings, and walls, bodies and "
        "furniture mislead it.",
        "Ruangan: beberapa penerima membandingkan kekuatan sinyal tiap tag. Node memperkirakan siapa yang mungkin "
        "berada dalam 2 m dari siapa, dengan peluangnya, untuk orang yang menetap beberapa menit. Pertemuan singkat "
        "tidak terlihat, dan dinding, tubuh, serta perabot dapat menyesatkan.",
    ),
    "person": (
        "Person: this node is worn. It says who was near its wearer, weighted by how strong the signal was. It says "
        "nothing about others among themselves, and a body between two radios looks like distance.",
        "Orang: node ini dikenakan. Node tahu siapa yang berada di dekat pemakainya, dengan bobot menurut kekuatan "
        "sinyal. Node tidak tahu tentang orang lain di antara mereka, dan tubuh di antara dua radio tampak seperti "
        "jarak.",
    ),
}
"""What each mode can and cannot say, in English and in Bahasa Indonesia."""


def nearness_of(config: NodeConfig, mode: Mode) -> Nearness:
    """What counts as near, as the node's configuration has it."""
    site, tracing = config.site, config.tracing
    return Nearness(
        mode,
        Rooms.of(
            (Receiver(one.number, one.room, one.x_m, one.y_m) for one in site.receivers), site.adjacent, site.room
        ),
        AttenuationWeights(tracing.attenuation_db, tracing.weights),
        wearer=site.wearer,
    )


@dataclass(frozen=True, slots=True)
class SiteEncounters:
    """Works the encounters of a store out, on demand.

    Attributes:
        connection: of the store.
        config: of the node.
        calibration: of its receivers and tags.
    """

    connection: Connection
    config: NodeConfig
    calibration: Calibration

    def days(self) -> list[int]:
        """Days of which there are sightings."""
        return Sightings(self.connection).days()

    def on(self, day: int) -> list[Encounters]:
        """The encounters of a day: one for each mode that the node was in, in order.

        A mode changes within the day's ten minutes at the earliest: the step in which it changed counts to the old one.
        """
        start = float(day * DAY_S)
        modes = SiteModes(self.connection).during(start, start + DAY_S)
        modes = modes or [ModeStretch(self.config.site.mode, start, start + DAY_S)]
        found = []
        register = Register.of(Tags(self.connection))
        for stretch in modes:
            begin, end = (-(-at // PERIOD_S) * PERIOD_S for at in (stretch.from_s, stretch.until_s))
            if begin < end:
                nearness = nearness_of(self.config, stretch.mode)
                found.append(nearness.encounters(day, register.labels, self._parts(register, begin, end)))
        return found

    def _parts(self, register: Register, from_s: float, until_s: float) -> Iterator[Heard]:
        sightings = Sightings(self.connection)
        while from_s < until_s:
            end = min(until_s, from_s + PART_S)
            known = register.known(from_s, end)
            yield Heard.of(
                sightings.between(from_s, end),
                known,
                tx_power_dbm=self.config.site.tx_power_dbm,
                calibration=self.calibration,
            )
            from_s = end
