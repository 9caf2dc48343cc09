"""The page as staff meet it: a process of its own, over TLS, in a real browser."""

import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from browser import Browser
from page_site import OTHER_PASSWORD, PASSWORD, form_token, words
from waiting import wait_until

from edge.page.certificate import fingerprint
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.exposures import Exposure, Exposures
from edge.store.staff import LOCKING_FAILURE
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

CONFIG = """name = "SDN 1 Menteng"
[page]
listen = "127.0.0.1:PORT"
tls_certificate = "page.crt"
tls_key = "page.key"
"""
COMMAND = "from edge.cli import main; main()"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NodeFolder:
    """A node's folder, and what is typed and run there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.key = secrets.token_bytes(32)
        self.database = Database(folder / "node.db", self.key)
        (folder / "store.key").write_text(self.key.hex())
        (folder / "node.toml").write_text(CONFIG.replace("PORT", str(self.port)))
        self.processes: list[subprocess.Popen] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def type(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", COMMAND, *arguments]
        return subprocess.run(command, cwd=self.folder, input=typed, capture_output=True, text=True, check=False)

    def serve(self) -> subprocess.Popen:
        """`jaga-node page`, once it says that it serves."""
        (self.folder / "log").touch()
        serving = self.log().count("page serving") + 1
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-c", COMMAND, "--log", "json", "page", "node.toml"]
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        wait_until(lambda: self.log().count("page serving") == serving or process.poll() is not None, 30)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def staff(self, name="sari", password=PASSWORD, **headers) -> httpx.Client:
        """A browser that has just signed in, and trusts this node's certificate and no other."""
        client = httpx.Client(base_url=self.url, verify=ssl.create_default_context(cafile=self.folder / "page.crt"))
        client.headers.update({"accept-language": "en", **headers})
        sign_in(client, name, password)
        return client

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def sign_in(client, name="sari", password=PASSWORD) -> httpx.Response:
    token = form_token(client.get("/sign-in").text)
    return client.post("/sign-in", data={"form_token": token, "name": name, "password": password})


def send(client, path, page="/account", **fields) -> httpx.Response:
    return client.post(path, data={"form_token": form_token(client.get(page).text), **fields})


@pytest.fixture
def node(tmp_path):
    made = NodeFolder(tmp_path)
    assert made.type("page", "node.toml", "--make-certificate").returncode == 0
    assert made.type("staff", "add", "node.toml", "sari", typed=PASSWORD).returncode == 0
    yield made
    made.close()


def found(node, *subjects):
    connection = node.database.connect()
    today = int(time.time() // 86400)
    with transaction(connection):
        Exposures(connection).add(
            [Exposure(today, subject, "zone", "Kelas 3B", 42.0, 38.0, 0.7) for subject in subjects], time.time()
        )
    Exposures(connection).raise_alerts(15, time.time(), tell=False)
    connection.close()


def test_staff_sign_in_over_tls_read_an_alert_mark_it_and_sign_out(node):
    node.serve()
    found(node, "Tag 17")
    client = node.staff()
    shown = client.get("/")
    assert "Tag 17" in shown.text
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"
    assert "server" not in shown.headers
    assert send(client, "/alerts/1/seen", "/").status_code == 303
    assert "Seen by sari" in words(client.get("/?show=alerts").text)
    copied = dict(client.cookies)
    send(client, "/sign-out")
    thief = httpx.Client(base_url=node.url, verify=False, cookies=copied)  # noqa: S501
    assert thief.get("/").headers["location"] == "/sign-in"


def test_plain_http_a_wrong_host_and_a_body_without_end_get_nothing(node):
    node.serve()
    client = node.staff()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{node.port}/sign-in")
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert (
        client.get("/", headers={"x-forwarded-for": "8.8.8.8", "x-forwarded-host": "evil.example"}).status_code == 200
    )
    assert client.post("/sign-out", content=(b"x" for _ in range(9))).status_code == 411
    raw = ssl.create_default_context(cafile=node.folder / "page.crt").wrap_socket(
        socket.create_connection(("127.0.0.1", node.port)), server_hostname="127.0.0.1"
    )
    raw.sendall(b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\nContent-Length: 5000\r\n\r\n")
    assert b"400" in raw.recv(200)
    raw.close()


def test_tls_is_new_enough(node):
    node.serve()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", node.port)) as plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain)


def test_guessing_locks_the_account_is_logged_without_a_name_and_an_administrator_opens_it(node):
    node.serve()
    client = node.staff()
    guesser = httpx.Client(base_url=node.url, verify=False)  # noqa: S501
    answers = [sign_in(guesser, "sari", "not the password") for _ in range(LOCKING_FAILURE)]
    assert {answer.status_code for answer in answers} == {401}
    assert sign_in(guesser, "sari", PASSWORD).status_code == 401
    locked = [json.loads(line) for line in node.log().splitlines() if "account_locked" in line]
    assert locked
    assert "sari" not in node.log()
    assert "UTC" in node.type("staff", "list", "node.toml").stdout
    assert PASSWORD not in node.log()
    assert client.get("/").status_code == 200
    assert node.type("staff", "password", "node.toml", "sari", typed=OTHER_PASSWORD).returncode == 0
    assert client.get("/").headers["location"] == "/sign-in"
    assert node.staff(password=OTHER_PASSWORD).get("/").status_code == 200


def test_sessions_outlive_the_process_and_end_in_the_store(node):
    first = node.serve()
    client = node.staff()
    first.terminate()
    assert first.wait(20) == 0
    node.serve()
    assert client.get("/node").status_code == 200
    node.type("staff", "remove", "node.toml", "sari")
    assert client.get("/node").status_code == 303


def test_what_was_spent_is_worked_out_by_a_process_that_ends(node):
    connection = node.database.connect()
    ledger = PrivacyLedger(connection, Budget(8.0, 1e-6, 14 * 86400.0))
    ledger.spend(ledger.reserve(b"x" * 16, "train", [SampledGaussian(5.0, 0.2, 20)]))
    expected = f"{ledger.epsilon():.2f} of 8.00 spent"
    connection.close()
    process = node.serve()
    client = node.staff()
    wait_until(lambda: expected in words(client.get("/privacy").text))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children == []


def settings_line(node, **changes):
    return json.dumps(
        {
            "database": str(node.database.path),
            "key": node.key.hex(),
            "site": "x",
            "listen": f"127.0.0.1:{node.port}",
            **changes,
        }
    )


def start_as_the_node_does(node, **changes):
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.page"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    node.processes.append(process)
    process.stdin.write(settings_line(node, **changes) + "\n")
    process.stdin.flush()
    return process, json.loads(process.stdout.readline())


def test_started_by_the_node_it_tells_where_it_serves_and_stops_when_asked(node):
    process, event = start_as_the_node_does(
        node, certificate=str(node.folder / "page.crt"), private_key=str(node.folder / "page.key")
    )
    assert event["event"] == "serving"
    assert event["url"] == f"{node.url}/"
    assert event["fingerprint"] == fingerprint(node.folder / "page.crt")
    assert process.args == [sys.executable, "-m", "edge.page"]
    assert node.staff().get("/").status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert [json.loads(line)["event"] for line in process.stdout] == ["signed_in", "stopped"]
    assert process.stderr.read() == ""


def test_it_weighs_less_than_65_mb_after_many_sign_ins_and_imports_nothing_heavy(node):
    process, _ = start_as_the_node_does(
        node, certificate=str(node.folder / "page.crt"), private_key=str(node.folder / "page.key")
    )
    for _ in range(5):
        client = node.staff()
        for path in ("/", "/node", "/privacy", "/account"):
            assert client.get(path).status_code == 200
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1000
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert resident_mb < 65
    for heavy in ("numpy", "torch", "pydantic_core", "uvloop", "httptools"):
        assert heavy not in maps


@pytest.mark.parametrize(
    ("changes", "status", "error", "reason"),
    [
        ({"key": "77" * 32}, 3, "WrongKey", "made with key"),
        ({"listen": "8.8.8.8:80"}, 2, "BadSettings", "whole internet"),
        (
            {"listen": "10.255.255.1:80", "certificate": "CRT", "private_key": "KEY"},
            2,
            "CannotListen",
            "no such address",
        ),
        ({"certificate": "/absent.crt", "private_key": "/absent.key"}, 2, "BadCertificate", "--make-certificate"),
        ({"timezone": 1}, 2, "BadSettings", "timezone"),
    ],
)
def test_what_it_cannot_do_is_its_last_word(node, changes, status, error, reason):
    files = {"CRT": str(node.folder / "page.crt"), "KEY": str(node.folder / "page.key")}
    process, event = start_as_the_node_does(node, **{name: files.get(value, value) for name, value in changes.items()})
    assert (event["event"], event["error"]) == ("failed", error)
    assert reason in event["reason"]
    assert process.wait(20) == status
    assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_said_clearly(node):
    with socket.socket() as other:
        other.bind(("127.0.0.1", node.port))
        other.listen()
        process, event = start_as_the_node_does(node)
        assert process.wait(20) == 2
        assert "another program has this port" in event["reason"]
        typed = node.type("page", "node.toml")
        assert (typed.returncode, "another program has this port" in typed.stderr) == (3, True)


def test_it_ends_when_the_node_that_started_it_is_killed(node):
    program = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "edge.page"], stdin=subprocess.PIPE)
child.stdin.write({settings_line(node)!r}.encode() + b"\\n")
child.stdin.close()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert json.loads(parent.stdout.readline())["event"] == "serving"
    parent.kill()
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text(), 20)


def test_a_browser_without_scripts_needs_only_its_keyboard(node):
    node.serve()
    found(node, "Tag 17", "Tag 18")
    browser = Browser("id")
    try:
        browser.open(f"{node.url}/")
        assert "<h1>Masuk</h1>" in browser.html()
        browser.type("Sari")
        browser.press("Tab")
        browser.type(PASSWORD)
        browser.press("Enter", leads_on=True)
        assert "2 peringatan baru" in words(browser.html())
        # Past the way to the content, brand, two languages, sign out, four pages, one warning and three lists.
        for _ in range(14):
            browser.press("Tab")
        browser.press("Enter", leads_on=True)
        assert "1 peringatan baru" in words(browser.html())
        for path in ("/", "/?show=all", "/node", "/privacy", "/account", "/sign-in"):
            browser.open(node.url + path)
            for width in (320, 390, 1180):
                assert browser.size(width) <= width, (path, width)
            assert browser.picture().startswith(b"\x89PNG")
        assert browser.complaints == []
    finally:
        browser.close()


def test_a_node_serves_its_page_tells_it_how_it_is_and_starts_it_again_when_it_dies(federation):
    federation.start_broker()
    port = free_port()
    node = federation.node(f'[page]\nlisten = "127.0.0.1:{port}"\n').start()
    wait_until(lambda: "page serving" in node.log())
    typed = [sys.executable, "-c", COMMAND, "staff", "add", "node.toml", "sari"]
    subprocess.run(typed, cwd=node.folder, input=PASSWORD, text=True, check=True, capture_output=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"accept-language": "en"}) as client:
        sign_in(client)
        wait_until(lambda: "Connected since" in words(client.get("/node").text))
        assert "Running, last sign of life" in words(client.get("/node").text)
        first = node.children()["edge.page"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: node.children().get("edge.page", first) != first)
        wait_until(lambda: node.log().count("page serving") == 2)
        assert client.get("/node").status_code == 200
    node.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/alive")


def test_a_page_that_cannot_be_served_does_not_stop_the_node(federation):
    federation.start_broker()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        node = federation.node(f'[page]\nlisten = "127.0.0.1:{port}"\n').start()
        federation.centre.wait_online(node.party)
        wait_until(lambda: "another program has this port" in node.log())
    wait_until(lambda: "page serving" in node.log())
    assert node.process.poll() is None
