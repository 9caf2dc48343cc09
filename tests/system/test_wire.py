"""The MQTT connection against real brokers that die, refuse and dawdle, and against a false one that talks nonsense."""

import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from privacy.boundary import client as patience
from privacy.boundary import topics, wire
from privacy.boundary.broker import BadBrokerUrl, BrokerUrl, tls_context
from privacy.boundary.wire import Connection, Delivery, NotConnected, PayloadTooLarge, PublicationRefused, Will
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from simulations.broker import Broker, BrokerCredentials, free_port, mosquitto_program, start_broker

pytestmark = [pytest.mark.system]
KINDS = [
    pytest.param(
        "mosquitto", marks=pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed")
    ),
    "embedded",
]
MOSQUITTO = pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed")
NODE = "node-00000000000000a7"
SOON_S = 20
"""Anything awaited arrives within a second or two; this is when to give up."""
MESSAGES = [f"{topics.PREFIX}/blob/{i}" for i in range(3)]


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Path:
    """A folder per party; `stranger` is a node of another authority."""
    folder = tmp_path_factory.mktemp("federation")
    ours, theirs = CertificateAuthority.create("ours"), CertificateAuthority.create("ours")
    ours.enrol("broker", Role.BROKER, ["127.0.0.1"]).save(folder / "broker")
    ours.enrol("leader", Role.LEADER).save(folder / "leader")
    ours.enrol(NODE, Role.NODE).save(folder / NODE)
    theirs.enrol(NODE, Role.NODE).save(folder / "stranger")
    return folder


@pytest.fixture
def start(federation, tmp_path) -> Iterator[Callable[..., Broker]]:
    started: list[Broker] = []

    def start(kind: str = "mosquitto", **options) -> Broker:
        credentials = BrokerCredentials.in_folder(federation / "broker")
        started.append(start_broker(kind, tmp_path / f"broker{len(started)}", credentials, **options))
        return started[-1]

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    """Pauses before connecting again are for brokers, not for tests."""
    monkeypatch.setattr(patience, "RECONNECT_S", (0.1, 0.2))


class Party:
    """A connection that notes what it hears, and how often it connected."""

    def __init__(self, folder: Path, url: str, *, name: str | None = None, **session) -> None:
        self.heard: queue.Queue[Delivery] = queue.Queue()
        self.times_connected = threading.Semaphore(0)
        self.connections = 0
        self.name = folder.name
        self.wire = Connection(
            BrokerUrl.parse(url),
            name or f"{folder.name}-{os.urandom(8).hex()}",
            tls=tls_context(folder),
            on_connected=self._connected,
            **session,
        )

    def _connected(self) -> None:
        self.connections += 1
        self.times_connected.release()

    def await_connection(self) -> None:
        """Wait for one more connection than was waited for before."""
        assert self.times_connected.acquire(timeout=SOON_S), f"{self.name} is not connected"

    def listen(self, pattern: str) -> None:
        self.wire.subscribe(pattern, self.heard.put)

    def settle(self) -> None:
        """Return when the broker has dealt with all that was sent before, subscriptions too."""
        self.publish(topics.presence(self.name), b"here")

    def acknowledge(self) -> None:
        """Return when the broker knows of every message that a handler has seen and stored."""
        self.settle()  # the handler has returned
        self.settle()  # sent after the acknowledgement

    def publish(self, topic: str, payload: bytes, **options) -> None:
        self.wire.publish(topic, payload, **options).result(SOON_S)

    def hears(self) -> tuple[str, bytes]:
        delivery = self.heard.get(timeout=SOON_S)
        return delivery.topic, bytes(delivery.payload)


@pytest.fixture
def join(federation) -> Iterator[Callable[..., Party]]:
    """Makes parties, and stops them whatever the test does."""
    joined: list[Party] = []

    def join(party: str, url: str, *, listen: str | None = None, handler=None, wait: bool = True, **session) -> Party:
        joined.append(Party(federation / party, url, **session))
        if handler is not None:
            joined[-1].wire.subscribe(topics.task(party), handler)
        if listen is not None:
            joined[-1].listen(listen)
        joined[-1].wire.start()
        if wait:
            joined[-1].await_connection()
            joined[-1].settle()
        return joined[-1]

    yield join
    for party in joined:
        party.wire.stop()


# Brokers that come and go


@MOSQUITTO
def test_a_broker_that_dies_and_comes_back_gets_everything_again(start, join):
    """Subscriptions are made again, and publications that it has not acknowledged are sent again."""
    broker = start()
    leader, node = join("leader", broker.url), join(NODE, broker.url, listen=topics.task(NODE))
    node.listen(f"{topics.PREFIX}/blob/+")
    broker.kill()
    while_away = [leader.wire.publish(topic, b"model", retain=True) for topic in MESSAGES]
    assert not any(publication.done() for publication in while_away)
    broker.restart()
    for publication in while_away:
        publication.result(SOON_S)
    assert sorted(node.hears() for _ in MESSAGES) == [(topic, b"model") for topic in MESSAGES]
    node.settle()
    leader.publish(topics.task(NODE), b"task")
    assert node.hears() == (topics.task(NODE), b"task")


@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_that_comes_late_is_waited_for(kind, start, join):
    port = free_port()
    leader = join("leader", f"mqtts://127.0.0.1:{port}", listen=topics.ALL_PRESENCE, wait=False)
    early = leader.wire.publish(topics.blob(b"d" * 32), b"model")
    with pytest.raises(NotConnected, match=rf"mqtts://127\.0\.0\.1:{port} not reached in 0\.3 s \(.*refused.*running"):
        leader.wire.wait_connected(0.3)
    assert not leader.wire.connected
    start(kind, port=port)
    leader.wire.wait_connected(SOON_S)
    early.result(SOON_S)
    leader.settle()
    assert leader.hears() == (topics.presence("leader"), b"here")


@MOSQUITTO
def test_patterns_that_are_subscribed_to_while_the_connection_is_made_are_all_heard(start, join):
    broker = start()
    leader = join("leader", broker.url)
    every = [f"{topics.PREFIX}/blob/{i}" for i in range(150)]
    node = join(NODE, broker.url, wait=False)
    for topic in every:
        node.listen(topic)
    node.wire.wait_connected(SOON_S)
    node.settle()
    for topic in every:
        leader.wire.publish(topic, b"")
    assert {node.hears()[0] for _ in every} == set(every)


@MOSQUITTO
def test_what_was_subscribed_to_no_longer_is_not_heard(start, join):
    broker = start()
    leader, node = join("leader", broker.url), join(NODE, broker.url, listen=MESSAGES[0])
    node.listen(MESSAGES[1])
    node.wire.unsubscribe(MESSAGES[0])
    node.settle()
    leader.publish(MESSAGES[0], b"unheard")
    leader.publish(MESSAGES[1], b"heard")
    assert node.hears() == (MESSAGES[1], b"heard")


@MOSQUITTO
def test_an_error_after_connecting_does_not_end_the_connection(start, federation):
    def fail() -> None:
        raise RuntimeError("presence not published")

    broker, heard = start(), queue.Queue()
    leader = Connection(
        BrokerUrl.parse(broker.url), "leader-1", tls=tls_context(federation / "leader"), on_connected=fail
    )
    leader.subscribe(topics.ALL_PRESENCE, heard.put)
    leader.start()
    try:
        leader.wait_connected(SOON_S)
        leader.publish(topics.presence("leader"), b"here").result(SOON_S)
        assert bytes(heard.get(timeout=SOON_S).payload) == b"here"
    finally:
        leader.stop()


# Handlers that fail


class Store:
    """A handler that cannot store what it is told to fail at, once."""

    def __init__(self, *fails_at: bytes) -> None:
        self.fails_at = list(fails_at)
        self.seen: queue.Queue[bytes] = queue.Queue()

    def __call__(self, delivery: Delivery) -> None:
        payload = bytes(delivery.payload)
        self.seen.put(payload)
        if payload in self.fails_at:
            self.fails_at.remove(payload)
            raise OSError("disk full")

    def sees(self) -> bytes:
        return self.seen.get(timeout=SOON_S)


@MOSQUITTO
def test_what_a_handler_could_not_store_comes_again_when_asked_for_and_once(start, join):
    broker, store = start(), Store(b"1")
    leader = join("leader", broker.url)
    node = join(NODE, broker.url, name=f"{NODE}-1", session_expiry_s=600, handler=store)
    for payload in (b"1", b"2"):
        leader.publish(topics.task(NODE), payload)
    assert [store.sees(), store.sees()] == [b"1", b"2"]
    node.acknowledge()
    node.wire.ask_again()
    assert store.sees() == b"1"
    node.await_connection()
    node.acknowledge()
    node.wire.ask_again()
    node.await_connection()
    node.settle()
    leader.publish(topics.task(NODE), b"3")
    assert store.sees() == b"3", "what was stored does not come a third time"


@MOSQUITTO
def test_a_handler_may_ask_again_itself(start, join):
    broker = start()
    leader = join("leader", broker.url)
    node = join(NODE, broker.url, name=f"{NODE}-1", session_expiry_s=600, wait=False)
    seen: queue.Queue[bytes] = queue.Queue()

    def store(delivery: Delivery) -> None:
        seen.put(bytes(delivery.payload))
        if seen.qsize() == 1:
            node.wire.ask_again()
            raise OSError("disk full")

    node.wire.subscribe(topics.task(NODE), store)
    node.await_connection()
    node.settle()
    leader.publish(topics.task(NODE), b"1")
    node.await_connection()
    node.settle()
    assert [seen.get(timeout=SOON_S), seen.get(timeout=SOON_S)] == [b"1", b"1"]


@MOSQUITTO
def test_what_was_not_stored_comes_to_the_next_process_of_the_same_session(start, join):
    broker = start()
    leader = join("leader", broker.url)
    failing, working = Store(b"1"), Store()
    first = join(NODE, broker.url, name=f"{NODE}-1", session_expiry_s=600, handler=failing)
    leader.publish(topics.task(NODE), b"1")
    assert failing.sees() == b"1"
    first.wire.stop()
    leader.publish(topics.task(NODE), b"2")
    second = join(NODE, broker.url, name=f"{NODE}-1", session_expiry_s=600, handler=working)
    assert [working.sees(), working.sees()] == [b"1", b"2"]
    second.settle()


def test_asking_again_without_a_connection_is_nothing():
    wire_ = Connection(BrokerUrl.parse(f"mqtt://127.0.0.1:{free_port()}"), "x")
    wire_.ask_again()
    wire_.start()
    wire_.ask_again()
    wire_.stop()


# Sizes


@pytest.mark.parametrize("kind", KINDS)
def test_ten_megabytes_arrive_whole_and_traffic_is_what_was_sent(kind, start, join):
    broker = start(kind)
    leader, node = join("leader", broker.url), join(NODE, broker.url, listen=MESSAGES[0])
    before = leader.wire.traffic(), node.wire.traffic()
    model = os.urandom(10_000_000)
    leader.publish(MESSAGES[0], model)
    assert node.hears() == (MESSAGES[0], model)
    node.settle()
    sent, received = leader.wire.traffic() - before[0], node.wire.traffic() - before[1]
    # TLS adds 22 bytes to each record of 16 kB, MQTT a few tens.
    assert 10_000_000 < sent.sent < 10_060_000
    assert sent.received < 5_000
    assert 10_000_000 < received.received < 10_060_000
    assert received.sent < 5_000


@MOSQUITTO
def test_traffic_is_of_all_connections_of_a_life(start, join):
    broker = start()
    leader = join("leader", broker.url)
    assert Connection(BrokerUrl.parse(broker.url), "x").traffic() == wire.Traffic()
    leader.publish(MESSAGES[0], bytes(100_000))
    for _ in range(2):
        before = leader.wire.traffic()
        leader.wire.ask_again()
        leader.await_connection()
        leader.publish(MESSAGES[0], bytes(100_000))
        gained = leader.wire.traffic() - before
        assert 100_000 < gained.sent < 120_000
    leader.wire.stop()
    assert leader.wire.traffic().sent > 300_000, "and is known after the end"


@MOSQUITTO
def test_what_no_broker_takes_is_refused_before_it_is_sent(start, join):
    broker = start()
    leader = join("leader", broker.url, listen=topics.ALL_PRESENCE)
    with pytest.raises(PayloadTooLarge, match=rf"67108864 bytes for {MESSAGES[0]}, .* packets of 67108864"):
        leader.wire.publish(MESSAGES[0], bytes(64 * 1024 * 1024))
    largest = bytes(64 * 1024 * 1024 - len(MESSAGES[0]) - wire.PACKET_HEAD_BYTES)
    leader.publish(MESSAGES[0], largest)
    assert leader.connections == 1


# Slow lines


@contextmanager
def slow_line(port: int, bytes_per_s: int) -> Iterator[int]:
    """A port that leads to `port`, at a modem's pace upwards."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as up:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)

        def carry_up(down: socket.socket) -> None:
            pause = threading.Event()
            while data := down.recv(bytes_per_s // 50):
                up.sendall(data)
                pause.wait(len(data) / bytes_per_s)

        def carry_down(down: socket.socket) -> None:
            with suppress(OSError):
                while data := up.recv(65_536):
                    down.sendall(data)

        def serve() -> None:
            down, _ = server.accept()
            up.connect(("127.0.0.1", port))
            back = threading.Thread(target=carry_down, args=(down,), daemon=True)
            back.start()
            with down, suppress(OSError):
                carry_up(down)
                up.shutdown(socket.SHUT_WR)
                back.join(SOON_S)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@MOSQUITTO
def test_an_upload_that_takes_longer_than_two_keepalives_arrives(start, join, monkeypatch):
    """On a village's line a model takes minutes, and a ping waits behind it."""
    monkeypatch.setattr(wire, "KEEPALIVE_S", 1)
    with slow_line(start().port, bytes_per_s=500_000) as port:
        leader = join("leader", f"mqtts://127.0.0.1:{port}")
        leader.publish(MESSAGES[0], bytes(1_500_000))
        leader.settle()
        assert leader.connections == 1
        leader.wire.stop()


# Goodbyes


WILL = """
import sys
from pathlib import Path
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.wire import Connection, Will
folder, url, party = sys.argv[1:]
wire = Connection(
    BrokerUrl.parse(url), f"{party}-1", tls=tls_context(Path(folder)), will=Will(f"jaga/1/presence/{party}", b"gone")
)
wire.start()
wire.wait_connected(20)
wire.publish(f"jaga/1/presence/{party}", b"here", retain=True).result(20)
sys.stdin.read()
wire.stop()
"""


@contextmanager
def a_process_with_a_will(federation: Path, url: str) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([sys.executable, "-c", WILL, str(federation / NODE), url, NODE], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_the_broker_says_the_will_of_who_is_killed(kind, start, join, federation):
    broker = start(kind)
    leader = join("leader", broker.url, listen=topics.presence(NODE))
    with a_process_with_a_will(federation, broker.url) as process:
        assert leader.hears() == (topics.presence(NODE), b"here")
        process.send_signal(signal.SIGKILL)
        assert leader.hears() == (topics.presence(NODE), b"gone")
    late = join("leader", broker.url, listen=topics.presence(NODE))
    assert late.hears() == (topics.presence(NODE), b"gone"), "it is retained"


@MOSQUITTO
def test_nobody_says_the_will_of_who_says_goodbye(start, join, federation):
    broker = start()
    leader = join("leader", broker.url, listen=topics.ALL_PRESENCE)
    assert leader.hears() == (topics.presence("leader"), b"here")
    with a_process_with_a_will(federation, broker.url) as process:
        assert leader.hears() == (topics.presence(NODE), b"here")
        process.communicate(timeout=SOON_S)
        assert process.returncode == 0
        leader.settle()
        assert leader.hears() == (topics.presence("leader"), b"here")


@MOSQUITTO
def test_an_empty_will_clears_what_was_retained(start, join):
    """So a coordinator that dies gives up its claim on a run."""
    broker, claim = start(), topics.claim(1, "instance")
    watcher = join("leader", broker.url, listen=topics.claims(1))
    holder = join("leader", broker.url, will=Will(claim, b""))
    holder.publish(claim, b"mine", retain=True)
    assert watcher.hears() == (claim, b"mine")
    holder.wire.ask_again()
    assert watcher.hears() == (claim, b"")
    late = join("leader", broker.url, listen=topics.claims(1))
    late.publish(claim, b"free")
    assert late.hears() == (claim, b"free")


def test_a_stop_leaves_no_publication_open():
    wire_ = Connection(BrokerUrl.parse(f"mqtt://127.0.0.1:{free_port()}"), "x")
    wire_.start()
    left = wire_.publish("jaga/1/blob/x", b"")
    told = threading.Event()
    left.add_done_callback(lambda _: told.set())
    wire_.stop()
    assert told.is_set()
    with pytest.raises(CancelledError):
        left.result(0)


@MOSQUITTO
def test_a_publication_that_is_given_up_does_not_disturb_the_others(start, join):
    broker = start()
    leader = join("leader", broker.url)
    broker.kill()
    given_up, kept = leader.wire.publish(MESSAGES[0], b""), leader.wire.publish(MESSAGES[1], b"")
    assert given_up.cancel()
    broker.restart()
    kept.result(SOON_S)
    leader.settle()
    assert leader.connections == 2


# Refusals


@MOSQUITTO
def test_a_publication_that_the_broker_forbids_is_not_taken_for_sent(start, join):
    broker = start()
    node = join(NODE, broker.url)
    forbidden = node.wire.publish(topics.task(NODE), b"I am the leader")
    with pytest.raises(PublicationRefused, match=rf"{topics.task(NODE)}: Not authorized"):
        forbidden.result(SOON_S)
    node.settle()
    assert node.connections == 1


@MOSQUITTO
def test_a_certificate_of_another_authority_is_named(start, join):
    broker = start()
    stranger = join("stranger", broker.url, wait=False)
    with pytest.raises(NotConnected, match=r"(?i)certificate verify failed"):
        stranger.wire.wait_connected(0.8)


@MOSQUITTO
def test_a_broker_that_does_not_like_our_certificate_is_quoted(start, federation, tmp_path):
    """The client's side of a TLS 1.3 handshake is over before the broker judges: its alert comes later."""
    broker = start()
    for name in ("party.pem", "signing.key"):
        (tmp_path / name).write_bytes((federation / "stranger" / name).read_bytes())
    (tmp_path / "authority.pem").write_bytes((federation / NODE / "authority.pem").read_bytes())
    stranger = Party(tmp_path, broker.url)
    stranger.wire.start()
    try:
        with pytest.raises(NotConnected, match=r"(?i)alert|eof|certificate"):
            stranger.wire.wait_connected(0.8)
    finally:
        stranger.wire.stop()


def test_a_host_that_does_not_exist_is_named():
    nowhere = Connection(BrokerUrl.parse("mqtt://does-not-exist.invalid"), "x")
    nowhere.start()
    try:
        with pytest.raises(NotConnected, match=r"(?i)name"):
            nowhere.wait_connected(0.5)
    finally:
        nowhere.stop()


# A false broker

CONNECTED = b"\x20\x03\x00\x00\x00"
PUBLISH_TO = b"\x00\x0djaga/1/blob/x"


def publication(body: bytes) -> bytes:
    return b"\x32" + bytes([len(body)]) + body


@contextmanager
def false_broker(*says: bytes) -> Iterator[tuple[str, threading.Semaphore]]:
    """Says these bytes to one connection after another, and the last of them to all that follow."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = threading.Semaphore(0)
        held: list[socket.socket] = []

        def serve() -> None:
            for number in range(100):
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                held.append(peer)
                with suppress(OSError):
                    if peer.recv(4096):
                        peer.sendall(says[min(number, len(says) - 1)])
                        connections.release()

        threading.Thread(target=serve, daemon=True).start()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}", connections
        for peer in held:
            peer.close()


NONSENSE = {
    "a topic that is not UTF-8": publication(b"\x00\x02\xff\xfe\x00\x01\x00x"),
    "a topic longer than its packet": publication(b"\xff\xff" + b"jaga"),
    "properties longer than their packet": publication(PUBLISH_TO + b"\x00\x01\x7fx"),
    "an unknown property": publication(PUBLISH_TO + b"\x00\x01\x02\x7e\x00x"),
    "no packet identifier": publication(PUBLISH_TO),
    "an empty publication": b"\x32\x00",
    "QoS 3": b"\x36\x12" + PUBLISH_TO + b"\x00\x01\x00",
    "an empty acknowledgement": b"\x40\x00",
    "an acknowledgement of what was not sent": b"\x40\x02\x12\x34",
    "an empty answer to a subscription": b"\x90\x00",
    "an unknown reason": b"\xe0\x02\x77\x00",
    "a packet of no kind": b"\x00\x00",
    "a length without an end": b"\x32\xff\xff\xff\xff\xff",
    "random bytes": bytes(range(255, 100, -1)),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_a_broker_that_talks_nonsense_costs_a_connection_and_no_more(what):
    """The network's thread must outlive it: a node whose thread has ended is off until somebody drives there."""
    heard: queue.Queue[Delivery] = queue.Queue()
    good = CONNECTED + publication(PUBLISH_TO + b"\x00\x01\x00good")
    with false_broker(CONNECTED + NONSENSE[what] + good, good) as (url, _):
        wire_ = Connection(BrokerUrl.parse(url), "x")
        wire_.subscribe("jaga/1/blob/x", heard.put)
        wire_.start()
        try:
            while bytes(heard.get(timeout=SOON_S).payload) != b"good":
                pass
            assert wire_.connected
        finally:
            wire_.stop()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"\x20\x03\x00\x87\x00", "Not authorized"),
        (b"\x20\x03\x00\x97\x00", "Quota exceeded"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "."),
        (b"", "no answer"),
    ],
)
def test_what_a_broker_answers_instead_is_quoted(answer, why):
    with false_broker(answer) as (url, connections):
        wire_ = Connection(BrokerUrl.parse(url), "x")
        wire_.start()
        try:
            if answer:
                assert connections.acquire(timeout=SOON_S)
            with pytest.raises(NotConnected, match=rf"not reached in 0\.3 s \({why}"):
                wire_.wait_connected(0.3)
        finally:
            wire_.stop()


def test_the_size_that_a_broker_says_it_takes_is_kept_to():
    small = b"\x20\x08\x00\x00\x05\x27" + struct.pack(">I", 1000)
    with false_broker(small) as (url, _):
        wire_ = Connection(BrokerUrl.parse(url), "x")
        wire_.start()
        try:
            wire_.wait_connected(SOON_S)
            wire_.publish("jaga/1/blob/x", bytes(800))
            with pytest.raises(PayloadTooLarge, match="packets of 1000"):
                wire_.publish("jaga/1/blob/x", bytes(1000))
        finally:
            wire_.stop()


def test_more_publications_than_mqtt_can_number_are_refused_and_not_lost_in_silence():
    wire_ = Connection(BrokerUrl.parse("mqtt://127.0.0.1:1"), "x")
    waiting = wire_.publish("jaga/1/blob/x", b"")
    wire_._client._last_mid = 0  # as after 65535 more
    with pytest.raises(PublicationRefused, match="too many"):
        wire_.publish("jaga/1/blob/x", b"").result(0)
    assert not waiting.done()


# Addresses


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("mqtts://broker.example", BrokerUrl("broker.example", 8883, True)),
        ("mqtt://127.0.0.1:1884/", BrokerUrl("127.0.0.1", 1884, False)),
        ("mqtts://[::1]:9", BrokerUrl("::1", 9, True)),
        ("mqtts://puskesmas:p%40ss%2Fword@h", BrokerUrl("h", 8883, True, "puskesmas", "p@ss/word")),
    ],
)
def test_an_address_is_taken_apart(url, parsed):
    assert BrokerUrl.parse(url) == parsed
    assert BrokerUrl.parse(str(parsed)) == BrokerUrl(parsed.host, parsed.port, parsed.tls)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker.example",
        "broker.example:8883",
        "http://broker.example",
        "mqtts://",
        "mqtts://:8883",
        "mqtts://h:port",
        "mqtts://h:65536",
        "mqtts://h:0",
        "mqtts://h/path",
        "mqtts://[::1",
        f"mqtts://{'x' * 70}.example",
    ],
)
def test_what_is_no_address_is_named(url):
    with pytest.raises(BadBrokerUrl, match="is no broker address"):
        BrokerUrl.parse(url)


def test_a_password_is_in_no_message():
    url = BrokerUrl.parse("mqtts://user:hunter2@h")
    assert "hunter2" not in f"{url} {url!r}"
    with pytest.raises(BadBrokerUrl) as wrong:
        BrokerUrl.parse("mqtts://user:hunter2@h:port")
    assert "hunter2" not in str(wrong.value)
