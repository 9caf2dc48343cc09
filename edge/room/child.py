"""The hub's reception, seen from the node."""

from __future__ import annotations

from edge.child import Child
from edge.config import NodeConfig
from edge.room.settings import Settings


def reception_child(config: NodeConfig, key: bytes) -> Child | None:
    """The reception's process; None where this node is no hub.

    Args:
        key: of the store.
    """
    hub = config.site.reception
    if hub is None:
        return None
    receivers = {satellite.party: satellite.receiver for satellite in hub.satellites}
    settings = Settings(str(config.store.path), key.hex(), str(config.credentials), hub.listen, receivers)
    return Child("reception", "edge.room", settings)
