"""What a release costs a person, who is more than one privacy unit.

A person is heard in many slots of a day, on many days, and maybe by several nodes of one site. All that a person leaves
within one node's sum moves it together: n days of m units each move it n m times as far as one unit, and for a Gaussian
that is n m times the shift, exactly. (Epsilon does not grow n m times: it grows faster.)

Nodes of one site tell of the same person, so they are charged together, as if each had made the same release:

- each with noise of its own: k Gaussians, so k times the square of one's shift;
- with noise that nodes share, in one sum: k times the shift. (If a sum holds some of them only, less.)

Nothing of this is taken for smaller because of sampling: coins hide one example, not a day of them.
"""

from __future__ import annotations

import math

from privacy.accounting.events import SITE, Event, SharedGaussian, day_units, of_units


def of_person(event: Event, *, days: int = 1, nodes: int = 1) -> Event:
    """A release as it is for a person who was there on so many of the days that it read, heard by so many nodes.

    An event of the whole site bounds everything at once, so more days do not move it further.
    """
    units = day_units(event) * (1 if event.unit == SITE else days)
    return of_units(event, units * (nodes if isinstance(event, SharedGaussian) else math.sqrt(nodes)))
