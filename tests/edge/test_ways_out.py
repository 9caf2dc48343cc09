"""The ways out of a node, found in its code: each is known, and each that can carry a record goes through the gate."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CAN_SEND = {
    "socket", "ssl", "http", "http.client", "httpx", "requests", "urllib.request", "urllib3", "aiohttp", "websockets",
    "paho", "smtplib", "ftplib", "telnetlib", "xmlrpc", "asyncore", "uvicorn", "starlette", "bleak", "dbus_fast",
    "grpc", "multiprocessing.connection", "socketserver", "subprocess",
}  # fmt: skip
SENDING_CALLS = {"publish", "sendall", "sendto", "sendmsg", "open_connection", "create_connection", "getaddrinfo"} | {
    "create_subprocess_exec",
    "create_subprocess_shell",
    "system",
    "popen",
}

KNOWN = {
    "edge/child.py": "starts the node's own processes",
    "edge/keys/sources.py": "asks Clevis, systemd and the Pi's firmware for the store's key",
    "edge/lan.py": "looks local addresses up",
    "edge/learning/process.py": "starts the trainer",
    "edge/link.py": "publishes what the gate released, from the outbox, and presence",
    "edge/page/address.py": "reads an address to listen on",
    "edge/page/app.py": "the page: answers on the site's own network",
    "edge/page/certificate.py": "makes the page's certificate",
    "edge/page/cookies.py": "the page",
    "edge/page/guard.py": "the page",
    "edge/page/page.py": "the page",
    "edge/page/signing_in.py": "the page",
    "edge/page/spending.py": "starts the process that works out what was spent",
    "edge/page/views.py": "the page",
    "edge/room/courier.py": "a satellite's parcels, through SiteGate",
    "edge/room/process.py": "the hub: takes parcels",
    "edge/sensing/beacon/beacon.py": "advertises a tag",
    "edge/sensing/scanners/bleak.py": "listens to Bluetooth",
    "edge/sensing/scanners/bluez.py": "asks bluetoothd about adapters",
    "edge/sensing/scanners/helper.py": "starts bluepy's helper",
    "edge/sensing/scanners/radio.py": "resets a Bluetooth adapter",
    "edge/serving.py": "the server of page and hub",
    "edge/tracing/webhook.py": "alerts to the site's server, through SiteGate",
    "privacy/boundary/broker.py": "TLS to the broker",
    "privacy/boundary/client.py": "MQTT",
    "privacy/boundary/lean.py": "MQTT",
    "privacy/boundary/traffic.py": "counts bytes",
    "privacy/boundary/wire.py": "MQTT",
}
THROUGH_SITE_GATE = ("edge/room/courier.py", "edge/tracing/webhook.py")


def modules():
    return [path for package in ("edge", "privacy") for path in sorted((ROOT / package).rglob("*.py"))]


def can_send(source: str) -> bool:
    """Whether a module imports something that can send, or calls something that sends."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDING_CALLS:
            return True
        if any(name in CAN_SEND or name.partition(".")[0] in CAN_SEND for name in names):
            return True
    return False


def test_a_node_has_no_way_out_that_is_not_known():
    found = {str(path.relative_to(ROOT)) for path in modules() if can_send(path.read_text("utf-8"))}
    assert found == set(KNOWN)


@pytest.mark.parametrize(
    "source",
    [
        "import socket",
        "from http.client import HTTPConnection",
        "def f():\n    import httpx",
        "import paho.mqtt.client as mqtt",
        "self._connection.publish(topic, payload)",
        "from urllib import request",
        "asyncio.open_connection('10.0.0.1', 80)",
    ],
)
def test_a_new_way_out_would_be_found(source):
    assert can_send(source)


@pytest.mark.parametrize("module", THROUGH_SITE_GATE)
def test_what_goes_to_a_machine_in_the_building_goes_through_the_gate(module):
    calls = [
        node.func.attr
        for node in ast.walk(ast.parse((ROOT / module).read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert "release" in calls


def test_only_the_link_publishes_and_only_presence_and_what_lies_in_the_outbox():
    tree = ast.parse((ROOT / "edge/link.py").read_text("utf-8"))
    published = [
        ast.unparse(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "publish"
    ]
    assert sorted(published) == ["gone.topic", "here.topic", "item.topic"]


def test_what_lies_in_the_outbox_was_put_there_beside_a_release():
    """Every module that writes to the outbox asks the gate, or sends a reply again that was released before."""
    writers = {
        str(path.relative_to(ROOT))
        for path in modules()
        if "Outbox(" in (text := path.read_text("utf-8")) and ".put(" in text
    }
    assert writers == {"edge/link.py", "edge/node.py", "edge/tracing/report.py"}
    for module in writers - {"edge/link.py"}:
        assert "gate.release" in (ROOT / module).read_text("utf-8").replace("_gate", "gate")
