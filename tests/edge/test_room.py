"""Satellites tell their hub what they hear: once, sealed, and nobody else."""

import http.server
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.lan import NotLocal
from edge.room.courier import CERTIFICATE_PATH, PATH, Courier, HubUnreachable
from edge.room.parcel import LIFETIME_S, MOST_ROWS, BadParcel, Parcel, pack, sender_of, unpack
from edge.room.reception import Reception
from edge.sensing.sightings import Sighting
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sightings import Sightings
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import Undeclared
from privacy.catalogue.columns import Catalogue
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party

AUTHORITY = CertificateAuthority.create("site")
HUB, SATELLITE, STRANGER = (AUTHORITY.enrol(node_party(n), Role.NODE) for n in (2, 3, 4))
LEADER = AUTHORITY.enrol("leader", Role.LEADER)
NOW = 1_800_000_000.0
FIRST = int(NOW // 20)


def sighting(window: int, name: bytes = b"a", receiver: int = 0) -> Sighting:
    return Sighting(name * 16, window, 2, -120, 7300, -70, -50, b"meta", receiver)


ROWS = st.builds(
    Sighting,
    identifier=st.binary(min_size=16, max_size=16),
    window=st.integers(0, 2**40),
    frames=st.just(3),
    rssi_sum=st.just(-180),
    rssi_square_sum=st.just(10_850),
    rssi_min=st.just(-65),
    rssi_max=st.just(-55),
    metadata=st.sampled_from([b"", b"abcd"]),
)


@given(st.lists(ROWS, max_size=20))
@settings(deadline=None)
def test_a_parcel_comes_out_as_it_went_in(rows):
    payload = pack(SATELLITE, HUB.certificate, Parcel(2**41, rows), now=NOW)
    sender = sender_of(HUB, payload)
    opened = unpack(HUB, sender, payload, receiver=7, now=NOW)
    assert sender.party == SATELLITE.party
    assert opened.until_window == 2**41
    assert [(s.identifier, s.window, s.metadata, s.receiver) for s in opened.sightings] == [
        (s.identifier, s.window, s.metadata, 7) for s in rows
    ]


def test_no_identifier_can_be_read_on_the_way():
    assert b"a" * 16 not in pack(SATELLITE, HUB.certificate, Parcel(1, [sighting(0)]))


@given(st.data())
@settings(deadline=None)
def test_a_parcel_that_was_changed_anywhere_is_turned_away(data):
    payload = bytearray(pack(SATELLITE, HUB.certificate, Parcel(1, [sighting(0)]), now=NOW))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadParcel):
        unpack(HUB, sender_of(HUB, bytes(payload)), bytes(payload), receiver=1, now=NOW)


@given(st.binary(max_size=300))
def test_what_is_no_parcel_is_turned_away(payload):
    with pytest.raises(BadParcel):
        sender_of(HUB, payload)


def test_only_nodes_of_the_federation_are_believed():
    other = CertificateAuthority.create("site").enrol(node_party(3), Role.NODE)
    for sender, words in ((LEADER, "only nodes"), (other, "not issued by this federation")):
        with pytest.raises(BadParcel, match=words):
            sender_of(HUB, pack(sender, HUB.certificate, Parcel(1, [])))


def test_a_parcel_for_another_hub_stays_closed():
    payload = pack(SATELLITE, STRANGER.certificate, Parcel(1, [sighting(0)]))
    with pytest.raises(BadParcel, match="another hub"):
        unpack(HUB, sender_of(HUB, payload), payload, receiver=1)


@pytest.mark.parametrize("late", [-LIFETIME_S - 1, LIFETIME_S + 1])
def test_a_parcel_of_another_time_is_turned_away(late):
    payload = pack(SATELLITE, HUB.certificate, Parcel(1, []), now=NOW)
    with pytest.raises(BadParcel, match="clocks"):
        unpack(HUB, sender_of(HUB, payload), payload, receiver=1, now=NOW + late)


def test_a_parcel_cannot_be_too_large():
    with pytest.raises(ValueError, match="at most"):
        pack(SATELLITE, HUB.certificate, Parcel(1, [sighting(0)] * (MOST_ROWS + 1)))


@pytest.fixture
def reception(database):
    return Reception(HUB, {SATELLITE.party: 1}, database.connect, lambda: NOW)


def test_a_parcel_that_comes_twice_is_stored_once(reception, connection):
    payload = pack(SATELLITE, HUB.certificate, Parcel(FIRST + 2, [sighting(FIRST), sighting(FIRST + 1)]), now=NOW)
    assert [reception.take(payload), reception.take(payload)] == [2, 0]
    stored = list(Sightings(connection).between(0, NOW + 100))
    assert [(s.window, s.receiver, s.frames) for s in stored] == [(FIRST, 1, 2), (FIRST + 1, 1, 2)]


def test_windows_that_were_packed_again_are_stored_once(reception, connection):
    for rows in ([sighting(FIRST)], [sighting(FIRST), sighting(FIRST + 1)]):
        reception.take(pack(SATELLITE, HUB.certificate, Parcel(rows[-1].window + 1, rows), now=NOW))
    assert [s.frames for s in Sightings(connection).between(0, NOW + 100)] == [2, 2]


def test_a_node_that_is_no_satellite_is_turned_away_and_counted(reception, connection):
    with pytest.raises(BadParcel, match="no satellite"):
        reception.take(pack(STRANGER, HUB.certificate, Parcel(1, [sighting(FIRST)]), now=NOW))
    assert reception.turned_away == {STRANGER.party: 1}
    assert Sightings(connection).count() == 0


@pytest.mark.parametrize("receivers", [{"node-a": 0}, {"node-a": 1, "node-b": 1}])
def test_satellites_need_receiver_numbers_of_their_own(receivers):
    with pytest.raises(ValueError, match="number of its own"):
        Reception(HUB, receivers, lambda: None)


@pytest.fixture
def serve():
    """A real HTTP server before a reception; what it hears is kept."""
    servers = []

    def start(reception):
        heard = []

        class Desk(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(200 if self.path == CERTIFICATE_PATH else 404, reception.certificate)

            def do_POST(self):
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append(payload)
                try:
                    reception.take(payload)
                except BadParcel as why:
                    self.answer(403, str(why).encode())
                else:
                    self.answer(200 if self.path == PATH else 404, b"")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", heard

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def satellite(tmp_path):
    database = Database(tmp_path / "satellite.db", bytes(32))
    store = database.connect()
    Sightings(store).add([sighting(FIRST), sighting(FIRST + 1), sighting(FIRST + 1, b"b", receiver=5)], NOW)
    Listening(store).add(NOW - 60, (FIRST + 2) * 20, NOW)
    yield database, store
    store.close()


def test_a_courier_delivers_what_is_new_and_writes_it_down(serve, satellite, database, connection):
    reception = Reception(HUB, {SATELLITE.party: 1}, database.connect)
    url, heard = serve(reception)
    its_database, store = satellite
    courier = Courier(SATELLITE, its_database, HUB.party, url)
    assert [courier.deliver(), courier.deliver()] == [2, 0]
    stored = list(Sightings(connection).between(0, NOW + 100))
    assert [(s.window, s.receiver) for s in stored] == [(FIRST, 1), (FIRST + 1, 1)]
    (row,) = AuditLog(store).rows()
    assert (row.kind, row.recipient, row.size_bytes) == ("sightings", HUB.party, len(heard[0]))
    assert b"a" * 16 not in heard[0]


def test_a_courier_keeps_what_the_hub_does_not_take(serve, satellite, database, connection):
    its_database, store = satellite
    with pytest.raises(HubUnreachable, match="no satellite"):
        Courier(SATELLITE, its_database, HUB.party, serve(Reception(HUB, {}, database.connect))[0]).deliver()
    (refused,) = AuditLog(store).rows()
    assert (refused.kind, refused.recipient) == ("sightings", HUB.party)
    reception = Reception(HUB, {SATELLITE.party: 1}, database.connect)
    assert Courier(SATELLITE, its_database, HUB.party, serve(reception)[0]).deliver() == 2


def test_a_parcel_is_in_the_audit_log_before_it_leaves(serve, satellite, database, monkeypatch):
    its_database, store = satellite
    logged = []

    def taken(self, method, path, body):
        logged.append([(row.kind, row.size_bytes) for row in AuditLog(store).rows()])
        raise HubUnreachable("away")

    url, _ = serve(Reception(HUB, {SATELLITE.party: 1}, database.connect))
    courier = Courier(SATELLITE, its_database, HUB.party, url)
    ask = Courier._ask
    monkeypatch.setattr(Courier, "_ask", lambda self, *call: (ask if call[0] == "GET" else taken)(self, *call))
    with pytest.raises(HubUnreachable):
        courier.deliver()
    ((kind, size),) = logged[0]
    assert kind == "sightings"
    assert size > 0


def test_sightings_stay_where_no_column_of_them_may_go_to_a_hub(serve, satellite, database, monkeypatch):
    monkeypatch.setattr("privacy.boundary.gate.CATALOGUE", Catalogue(()))
    url, heard = serve(Reception(HUB, {SATELLITE.party: 1}, database.connect))
    with pytest.raises(Undeclared, match=r"sightings\.window_index is not declared"):
        Courier(SATELLITE, satellite[0], HUB.party, url).deliver()
    assert heard == []


def test_a_courier_gives_nothing_to_another_hub(serve, satellite, database):
    url, heard = serve(Reception(STRANGER, {SATELLITE.party: 1}, database.connect))
    with pytest.raises(HubUnreachable, match="answers where"):
        Courier(SATELLITE, satellite[0], HUB.party, url).deliver()
    assert heard == []


def test_a_courier_never_leaves_the_site(satellite):
    with pytest.raises(NotLocal, match="own network"):
        Courier(SATELLITE, satellite[0], HUB.party, "http://8.8.8.8:80")


def test_a_name_that_leads_outside_gets_nothing(satellite, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("8.8.8.8", 80))])
    with pytest.raises(HubUnreachable, match="own network"):
        Courier(SATELLITE, satellite[0], HUB.party, "http://hub.local").deliver()


@pytest.mark.parametrize("url", ["ftp://10.0.0.1", "http://", "http://10.0.0.1:99999"])
def test_an_address_that_is_none_is_named(url, database):
    with pytest.raises(NotLocal):
        Courier(SATELLITE, database, HUB.party, url)
