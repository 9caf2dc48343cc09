"""A federation in a folder for tests: authority, leader, a broker for real, and node doubles."""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from flwr.app import Message
from flwr.clientapp import ClientApp
from node_double import NodeDouble

from aggregator.grid import MqttGrid
from aggregator.records.database import Records
from aggregator.records.nodes import Nodes
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.messages import Refusal
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party
from simulations.broker import Broker, BrokerCredentials, start_broker

RUN_ID = 2**63 + 7
"""Above what a signed or floating-point 64-bit number holds exactly."""
SOON_S = 20.0
"""What is awaited comes within milliseconds; this is when to give up."""


class SmallFederation:
    """Everything is stopped by `close`."""

    def __init__(self, folder: Path, broker: str = "mosquitto") -> None:
        self.folder = folder
        self.authority = CertificateAuthority.create("small")
        self.authority.save(folder / "authority")
        self.leader = self.authority.enrol("leader", Role.LEADER)
        self.leader.save(folder / "leader")
        self.authority.enrol("broker", Role.BROKER, ["127.0.0.1"]).save(folder / "broker")
        self.broker: Broker = start_broker(broker, folder / "mq", BrokerCredentials.in_folder(folder / "broker"))
        self.nodes: dict[int, NodeDouble] = {}
        self._grids: list[MqttGrid] = []

    @property
    def url(self) -> str:
        return self.broker.url

    def credentials(self, node_id: int) -> Path:
        """The folder of a node's identity, made at the first call."""
        folder = self.folder / node_party(node_id)
        if not folder.exists():
            self.authority.enrol(node_party(node_id), Role.NODE).save(folder)
        return folder

    def enrolled(self, records: Records, node_id: int, name: str) -> None:
        """Note a node in the records, as `jaga-central nodes enroll` does."""
        Nodes(records).enrol(name, Identity.load(self.credentials(node_id)).certificate)

    def retained(self, pattern: str) -> list[Delivery]:
        """What the broker keeps under a topic filter, as the leader sees it."""
        heard: list[Delivery] = []
        marker = f"{topics.PREFIX}/claim/{secrets.token_hex(8)}/marker"
        done = threading.Event()

        def hear(delivery: Delivery) -> None:
            if delivery.topic == marker:
                done.set()
            else:
                heard.append(delivery)

        party = self.leader.party
        connection = Connection(
            BrokerUrl.parse(self.url),
            f"{party}-{secrets.token_hex(8)}",
            tls=tls_context(self.folder / "leader"),
            on_connected=lambda: connection.publish(marker, b"end"),
        )
        connection.subscribe(pattern, hear)
        connection.subscribe(marker, hear)
        connection.start()
        try:
            assert done.wait(SOON_S)
        finally:
            connection.stop()
        return heard

    def publish_as(self, party: str, topic: str, payload: bytes) -> None:
        """Publish over a connection with a party's own certificate, which the broker lets write what it may write."""
        connection = Connection(
            BrokerUrl.parse(self.url), f"{party}-{secrets.token_hex(8)}", tls=tls_context(self.folder / party)
        )
        connection.start()
        try:
            connection.publish(topic, payload).result(SOON_S)
        finally:
            connection.stop()

    def node(
        self, node_id: int, app: ClientApp | Callable[[Message], Message | Refusal], **options: object
    ) -> NodeDouble:
        node = NodeDouble(self.credentials(node_id), self.url, app, **options).start()
        self.nodes[node_id] = node
        return node

    def grid(self, run_id: int = RUN_ID, *, identity: Identity | None = None, **options: object) -> MqttGrid:
        """A connected grid."""
        grid = MqttGrid(
            identity or self.leader, BrokerUrl.parse(self.url), run_id, credentials=self.folder / "leader", **options
        )
        self._grids.append(grid)
        grid.start()
        grid.wait_connected(SOON_S)
        return grid

    def close(self) -> None:
        for grid in self._grids:
            grid.close()
        for node in self.nodes.values():
            node.vanish()
        self.broker.kill()


def wait_for_nodes(grid: MqttGrid, *node_ids: int) -> None:
    """Until exactly these nodes are there."""
    for _ in range(200):
        here = grid.get_node_ids()
        if here == sorted(node_ids):
            return
        grid.attendance.wait_for_change(here, SOON_S / 100)
    raise AssertionError(f"nodes {grid.get_node_ids()} are there, not {sorted(node_ids)}")
