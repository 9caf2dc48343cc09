"""Which trouble of a demo is expected, and the exit status it has; everything else is a bug and shows its traceback."""

from __future__ import annotations

from edge.sensing.contacts import BadContactFile
from edge.sensing.replay import UnknownZone
from edge.store.errors import StoreError
from privacy.boundary.broker import BadBrokerUrl
from privacy.boundary.wire import NotConnected
from privacy.journal import BrokenChain
from simulations.broker import BrokerUnavailable
from simulations.datasets.sociopatterns import TooFewDays
from simulations.demo.centre import CentreFailed
from simulations.demo.helper import HelperFailed
from simulations.demo.run import TooSlow
from simulations.demo.scene import BadScene
from simulations.demo.sites import NodeFailed
from simulations.eavesdropper import EavesdropperFailed

BAD_INPUT, NO_BROKER, PROCESS_FAILED = 3, 4, 5

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (BadContactFile, BAD_INPUT),
    (TooFewDays, BAD_INPUT),
    (BadScene, BAD_INPUT),
    (UnknownZone, BAD_INPUT),
    (BadBrokerUrl, BAD_INPUT),
    (FileExistsError, BAD_INPUT),
    (FileNotFoundError, BAD_INPUT),
    (BrokerUnavailable, NO_BROKER),
    (NotConnected, NO_BROKER),
    (NodeFailed, PROCESS_FAILED),
    (CentreFailed, PROCESS_FAILED),
    (HelperFailed, PROCESS_FAILED),
    (TooSlow, PROCESS_FAILED),
    (EavesdropperFailed, PROCESS_FAILED),
    (StoreError, PROCESS_FAILED),
    (BrokenChain, PROCESS_FAILED),
)


def status_of(why: Exception) -> int | None:
    """The exit status for an expected trouble; None for a bug."""
    for kind, status in _STATUS:
        if isinstance(why, kind):
            return status
    return BAD_INPUT if type(why) is ValueError else None
