"""Alerts go to a server on the site's own network, signed, and nowhere else. The server is a real one."""

import hashlib
import hmac
import http.server
import json
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lan import LocalUrl, NotLocal
from edge.store.exposures import Exposure, StoredExposure
from edge.tracing import webhook as module
from edge.tracing.secret import BadSecret, read_secret
from edge.tracing.webhook import LONGEST_PAUSE_S, NotDelivered, Webhook, pause_s
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import SiteGate, Undeclared
from privacy.catalogue.columns import Catalogue
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role

SECRET = b"a secret of the site"
ALERT = StoredExposure(
    7, Exposure(20_600, "tag-07", "zone", "kelas 1", 18.54, 18.5, 0.7), 1.0, 2.0, None, None, 0, None
)


class Server:
    """Keeps what was posted, and answers with the statuses it is given, then 204."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.location = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), body))
                self.send_response(outer.statuses.pop(0) if outer.statuses else 204)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def webhook(url: str, log: AuditLog | None = None, **options) -> Webhook:
    gate = SiteGate(log or AuditLog(sqlite3.connect(":memory:", isolation_level=None)))
    return Webhook(LocalUrl.parse(url), SECRET, gate, **options)


def test_an_alert_is_in_the_audit_log_before_the_server_has_it(server):
    log = AuditLog(sqlite3.connect(":memory:", isolation_level=None))
    server.statuses = [503]
    with pytest.raises(NotDelivered):
        webhook(f"http://127.0.0.1:{server.port}", log).tell(ALERT)
    webhook(f"http://127.0.0.1:{server.port}", log).tell(ALERT)
    first, second = log.rows()
    assert first.kind == second.kind == "alert"
    assert first.recipient == f"127.0.0.1:{server.port}"
    assert first.sha256 == hashlib.sha256(server.requests[0][2]).digest()
    assert "tag-07" not in str(first)


def test_an_alert_that_cannot_be_written_down_does_not_leave(server):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    log = AuditLog(connection)
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError):
        webhook(f"http://127.0.0.1:{server.port}", log).tell(ALERT)
    assert server.requests == []


def test_an_alert_stays_if_its_columns_may_not_go_to_the_site_s_server(server, monkeypatch):
    monkeypatch.setattr("privacy.boundary.gate.CATALOGUE", Catalogue(()))
    with pytest.raises(Undeclared, match=r"exposures\.day is not declared"):
        webhook(f"http://127.0.0.1:{server.port}").tell(ALERT)
    assert server.requests == []


def test_an_alert_says_when_who_where_how_long_and_nothing_else(server):
    webhook(f"http://127.0.0.1:{server.port}/alerts?from=jaga").tell(ALERT)
    ((path, headers, body),) = server.requests
    assert path == "/alerts?from=jaga"
    day = datetime.fromtimestamp(20_600 * 86400, UTC).strftime("%Y-%m-%d")
    assert json.loads(body) == {
        "day": day,
        "subject": "tag-07",
        "room": "kelas 1",
        "minutes": 18.5,
        "level": "alert",
    }
    assert headers["Jaga-Delivery"] == "7"
    assert headers["Host"] == f"127.0.0.1:{server.port}"


def test_a_receiver_can_check_the_signature(server):
    webhook(f"http://localhost:{server.port}", clock=lambda: 1_700_000_000.9).tell(ALERT)
    ((_, headers, body),) = server.requests
    stamp, _, signed = headers["Jaga-Signature"].partition(",v1=")
    assert stamp == "t=1700000000"
    assert signed == hmac.new(SECRET, b"1700000000." + body, "sha256").hexdigest()


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/alerts",
        "https://8.8.8.8:8443",
        "http://[2001:db8::1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://134744072/",
        "http://172.32.0.1",
        "http://100.64.0.1",
    ],
)
def test_an_address_outside_is_refused_before_anything_is_sent(url):
    with pytest.raises(NotLocal, match="not on the site's own network"):
        LocalUrl.parse(url)


@pytest.mark.parametrize(
    "url",
    ["", "10.0.0.1", "ftp://10.0.0.1", "http://", "http://10.0.0.1:0", "http://a:b@10.0.0.1", "http://10.0.0.1:x"],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(NotLocal, match="no address of a server"):
        LocalUrl.parse(url)


def test_a_name_that_moves_outside_is_refused_at_the_call(server, monkeypatch):
    """As a name server would have it that was changed since the node was set up."""
    url = f"http://alerts.school.example:{server.port}/"
    hook = webhook(url)
    known = socket.getaddrinfo

    addresses = ["8.8.8.8"]

    def answer(host, port, *rest, **options):
        if host != "alerts.school.example":
            return known(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(NotDelivered, match="not on the site's own network"):
        hook.tell(ALERT)
    addresses = ["127.0.0.1", "8.8.8.8"]
    with pytest.raises(NotDelivered, match="not on the site's own network"):
        hook.tell(ALERT)
    assert server.requests == []
    addresses = ["127.0.0.1"]
    hook.tell(ALERT)
    assert server.requests[0][1]["Host"] == f"alerts.school.example:{server.port}"


def test_the_connection_goes_to_the_address_that_was_looked_at(server, monkeypatch):
    """A name that answers differently the second time is not asked a second time."""
    asked: list[str] = []
    known = socket.getaddrinfo

    def once(host, port, *rest, **options):
        asked.append(str(host))
        if host == "alerts.school.example":
            host = "127.0.0.1" if asked.count("alerts.school.example") == 1 else "8.8.8.8"
        return known(host, port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    webhook(f"http://alerts.school.example:{server.port}/").tell(ALERT)
    assert asked.count("alerts.school.example") == 1
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed(server):
    elsewhere = Server()
    server.statuses, server.location = [307], f"http://127.0.0.1:{elsewhere.port}/"
    with pytest.raises(NotDelivered, match="307: redirects are not followed"):
        webhook(f"http://127.0.0.1:{server.port}").tell(ALERT)
    assert elsewhere.requests == []
    elsewhere.close()


def test_a_proxy_of_the_environment_gets_nothing(server, monkeypatch):
    proxy = Server()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    webhook(f"http://127.0.0.1:{server.port}").tell(ALERT)
    assert (len(server.requests), proxy.requests) == (1, [])
    proxy.close()


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_server_that_says_no_is_named_with_its_answer(server, status):
    server.statuses = [status]
    with pytest.raises(NotDelivered, match=f"answered {status}"):
        webhook(f"http://127.0.0.1:{server.port}").tell(ALERT)


def test_a_server_that_is_not_there_is_named():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NotDelivered, match=f"127.0.0.1:{port}"):
        webhook(f"http://127.0.0.1:{port}").tell(ALERT)


def test_https_takes_the_sites_own_authority_and_no_other(tmp_path):
    ours, theirs = CertificateAuthority.create("site"), CertificateAuthority.create("other")
    ours.enrol("server", Role.BROKER, ["localhost"]).save(tmp_path / "server")
    theirs.save(tmp_path / "theirs")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server" / "party.pem", tmp_path / "server" / "signing.key")
    server = Server(tls)
    url = f"https://localhost:{server.port}/"
    webhook(url, authority=tmp_path / "server" / "authority.pem").tell(ALERT)
    for authority in (tmp_path / "theirs" / "authority.pem", None):
        with pytest.raises(NotDelivered, match=r"(?i)certificate"):
            webhook(url, authority=authority).tell(ALERT)
    with pytest.raises(NotDelivered, match=r"(?i)certificate"):  # the name in the certificate counts
        webhook(url.replace("localhost", "127.0.0.1"), authority=tmp_path / "server" / "authority.pem").tell(ALERT)
    assert len(server.requests) == 1
    server.close()


def test_a_secret_that_is_missing_or_short_is_named(tmp_path):
    with pytest.raises(BadSecret, match="openssl rand"):
        read_secret(tmp_path / "none")
    (tmp_path / "short").write_text("12345\n")
    with pytest.raises(BadSecret, match="16 characters"):
        read_secret(tmp_path / "short")
    (tmp_path / "good").write_text("0123456789abcdef\n")
    assert read_secret(tmp_path / "good") == b"0123456789abcdef"


@given(st.integers(1, 10_000))
def test_pauses_grow_and_end_somewhere(attempts):
    assert pause_s(attempts) <= pause_s(attempts + 1) <= LONGEST_PAUSE_S
    assert pause_s(1) == module.FIRST_PAUSE_S
