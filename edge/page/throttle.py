"""How often one address of the site may try to sign in. Kept in memory alone: an address is a person's trace."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

FREE_TRIES = 10
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
FORGET_S = 900.0
MOST_ADDRESSES = 1024


class AddressThrottle:
    """Tries that did not end well, by address; each one beyond `FREE_TRIES` makes the next wait twice as long.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, float, float]] = OrderedDict()

    def count(self, address: str) -> float:
        """Count one more try; returns 0, or how many seconds this address must wait, and then nothing was counted."""
        now, place = self._clock(), _network(address)
        tries, last_at, until = self._tries.pop(place, (0, now, now))
        if until > now:
            self._tries[place] = tries, last_at, until
            return until - now
        tries = 1 if now - last_at > FORGET_S else tries + 1
        beyond = min(tries - FREE_TRIES, 20)
        pause_s = min(FIRST_PAUSE_S * 2**beyond, LONGEST_PAUSE_S) if beyond >= 0 else 0.0
        self._tries[place] = tries, now, now + pause_s
        while len(self._tries) > MOST_ADDRESSES:
            self._tries.popitem(last=False)
        return 0.0

    def forgive(self, address: str) -> None:
        """The try that was counted last ended well. Those before it still count: one account must not open others."""
        place = _network(address)
        if place in self._tries:
            tries, last_at, _ = self._tries[place]
            self._tries[place] = tries - 1, last_at, last_at


def _network(address: str) -> str:
    """One household of IPv6 has a whole /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
