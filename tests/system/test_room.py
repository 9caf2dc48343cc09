"""A hub's reception as a process of its own, and satellites that reach it over HTTP."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from edge.room.courier import CERTIFICATE_PATH, PATH, Courier, HubUnreachable
from edge.room.parcel import MOST_BYTES
from edge.sensing.sightings import Sighting
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sightings import Sightings
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party

pytestmark = pytest.mark.system
KEY = bytes(range(32))


@pytest.fixture
def hub(tmp_path):
    """A hub with one satellite, the process of its reception, and what it says."""
    authority = CertificateAuthority.create("site")
    identity, satellite = (authority.enrol(node_party(n), Role.NODE) for n in (2, 3))
    identity.save(tmp_path / "credentials")
    database = Database(tmp_path / "hub.db", KEY)
    database.connect().close()
    settings = {
        "database": str(database.path),
        "key": KEY.hex(),
        "credentials": str(tmp_path / "credentials"),
        "listen": "127.0.0.1:0",
        "receivers": {satellite.party: 4},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.room"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(settings) + "\n")
    process.stdin.flush()
    serving = json.loads(process.stdout.readline())
    assert serving["event"] == "serving", serving
    yield identity, satellite, database, process, serving["url"].removesuffix("/")
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


@pytest.fixture
def heard(tmp_path):
    database = Database(tmp_path / "satellite.db", KEY)
    store = database.connect()
    now = time.time()
    window = int(now // 20) - 3
    Sightings(store).add([Sighting(b"z" * 16, window, 3, -150, 7500, -50, -50)], now)
    Listening(store).add(window * 20.0, (window + 2) * 20.0, now)
    store.close()
    return database


def stored(database):
    connection = database.connect()
    try:
        return [(s.identifier, s.receiver, s.frames) for s in Sightings(connection).between(0, time.time() + 60)]
    finally:
        connection.close()


def test_what_a_satellite_heard_is_in_the_hubs_store_once(hub, heard):
    identity, satellite, database, process, url = hub
    courier = Courier(satellite, heard, identity.party, url)
    assert [courier.deliver(), courier.deliver()] == [1, 0]
    assert stored(database) == [(b"z" * 16, 4, 3)]
    assert json.loads(process.stdout.readline()) == {"event": "taken", "sightings": 1}


def test_the_courier_works_by_itself(hub, heard):
    identity, satellite, database, _, url = hub
    courier = Courier(satellite, heard, identity.party, url, every_s=0.2)
    courier.start()
    try:
        deadline = time.monotonic() + 10
        while not stored(database) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        courier.stop()
    assert stored(database) == [(b"z" * 16, 4, 3)]


def test_a_stranger_gets_nothing_in(hub, heard):
    identity, _, database, process, url = hub
    stranger = CertificateAuthority.create("site").enrol(node_party(3), Role.NODE)
    with pytest.raises(HubUnreachable, match="not of this federation"):
        Courier(stranger, heard, identity.party, url).deliver()
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.request("POST", PATH, b"rubbish")
    assert connection.getresponse().read() == b"not a parcel of sightings"
    assert json.loads(process.stdout.readline())["event"] == "turned_away"
    assert stored(database) == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", CERTIFICATE_PATH, {}, 200),
        ("GET", "/", {}, 404),
        ("GET", PATH, {}, 405),
        ("POST", PATH, {"Content-Length": str(MOST_BYTES + 1)}, 413),
        ("POST", PATH, {"Transfer-Encoding": "chunked"}, 413),
    ],
)
def test_the_reception_answers_nothing_else(hub, method, path, headers, status):
    connection = http.client.HTTPConnection(hub[-1].removeprefix("http://"))
    connection.putrequest(method, path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status


def test_it_stops_when_it_is_asked_to(hub):
    process = hub[3]
    process.send_signal(signal.SIGTERM)
    assert json.loads(process.stdout.readline()) == {"event": "stopped"}
    assert process.wait(10) == 0


def test_a_port_that_is_taken_is_named(hub, tmp_path):
    port = int(hub[-1].rpartition(":")[2])
    settings = {
        "database": str(hub[2].path),
        "key": KEY.hex(),
        "credentials": str(tmp_path / "credentials"),
        "listen": f"127.0.0.1:{port}",
        "receivers": {},
    }
    done = subprocess.run(
        [sys.executable, "-m", "edge.room"],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 2
    assert "another program has this port" in json.loads(done.stdout)["reason"]
