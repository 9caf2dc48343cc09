"""Who may ask at all, and what every answer carries."""

import pytest
from page_site import HOST, PageSite
from starlette.testclient import TestClient

from edge.page.guard import HEADERS, LONGEST_BODY_BYTES
from edge.store.errors import StoreUnavailable


@pytest.fixture
def site(database):
    made = PageSite(database)
    made.employ()
    yield made
    made.close()


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "testclient", ""])
def test_the_internet_is_turned_away_even_where_a_router_lets_it_in(site, address):
    assert site.visitor(address).get("/sign-in").status_code == 403


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "192.168.1.5", "10.1.2.3", "fd00::5", "fe80::1%eth0", "::ffff:10.0.0.1"]
)
def test_the_site_is_let_in(site, address):
    assert site.visitor(address).get("/sign-in").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:443", f"{HOST}.evil.example", f"evil@{HOST}", f"{HOST}:x", "8.8.8.8", "", "[::1"],
)
def test_a_name_that_is_not_this_nodes_is_not_answered(site, host):
    answer = site.visitor().get("/sign-in", headers={"host": host})
    assert (answer.status_code, "Menteng" in answer.text) == (421, False)


@pytest.mark.parametrize("host", [HOST, f"{HOST}:8443", HOST.upper(), f"{HOST}.", "localhost"])
def test_this_nodes_names_are_answered(site, host):
    assert site.visitor().get("/sign-in", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("base_url", ["https://192.168.1.20:8443", "https://10.9.9.9"])
def test_the_address_at_which_a_request_came_in_is_a_name_of_this_node(site, base_url):
    # Starlette's client takes the address it connects to from its base URL.
    client = TestClient(site.app, base_url=base_url, client=("192.168.1.5", 1))
    assert client.get("/sign-in").status_code == 200
    assert client.get("/sign-in", headers={"host": "192.168.7.7"}).status_code == 421


def test_two_host_headers_are_none(site):
    client = site.visitor().client
    assert client.get("/sign-in", headers=[("host", HOST), ("host", "evil.example")]).status_code == 421


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x=" + b"a" * LONGEST_BODY_BYTES, {"content-type": "application/x-www-form-urlencoded"}, 413),
        (b"{}", {"content-type": "application/json"}, 415),
        (b"--x--", {"content-type": "multipart/form-data; boundary=x"}, 415),
        ((b"x" for _ in range(3)), {"content-type": "application/x-www-form-urlencoded"}, 411),
        (b"", {"content-type": "application/x-www-form-urlencoded", "content-length": "-1"}, 411),
    ],
)
def test_a_body_that_no_form_makes_is_not_read(site, content, headers, status):
    assert site.visitor().client.post("/sign-in", content=content, headers=headers).status_code == status


def test_a_form_with_very_many_fields_is_no_form_of_ours(site):
    body = "&".join(f"f{n}=" for n in range(200))
    answer = site.visitor().client.post(
        "/sign-in", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("body", [b"\xff\xfe=1", b"name=%ff%fe&form_token=%00", b"&&&==="])
def test_bytes_that_are_no_text_are_no_trouble(site, body):
    answer = site.visitor().client.post(
        "/sign-in", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 403


def broken_store(*_, **__):
    raise StoreUnavailable("store node.db is held by another process")


def test_every_answer_is_hardened(site, monkeypatch):
    visitor = site.staff()
    answers = [
        visitor.get(path) for path in ("/", "/sign-in", "/node", "/nothing", "/static/page.css", "/alive", "/privacy")
    ]
    answers += [visitor.client.post("/node", data={"a": "b"}), visitor.get("/", headers={"host": "evil.example"})]
    monkeypatch.setattr("edge.page.page.StaffSessions.name", broken_store)
    answers.append(visitor.get("/node"))
    monkeypatch.setattr("edge.page.page.StaffSessions.name", lambda *_, **__: 1 / 0)
    answers.append(visitor.get("/node"))
    assert [answer.status_code for answer in answers] == [200, 303, 200, 404, 200, 200, 200, 405, 421, 503, 500]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["cache-control"] == (
            "private, max-age=86400" if "/static/" in str(answer.url) else "no-store"
        )
        assert "server" not in answer.headers


def test_the_policy_allows_no_script_no_inline_style_no_frame_and_nothing_from_elsewhere():
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert "script-src" not in policy


def test_a_store_that_does_not_answer_is_an_apology_with_what_to_do_and_an_event(site, monkeypatch):
    visitor = site.staff()
    monkeypatch.setattr("edge.page.page.StaffSessions.name", broken_store)
    answer = visitor.get("/node")
    assert answer.status_code == 503
    assert "jaga-node doctor" in answer.text
    assert site.events[-1]["error"] == "StoreUnavailable"


def test_what_nobody_expected_is_told_by_its_place_and_not_by_its_words(site, monkeypatch):
    visitor = site.staff()

    def stumble(*_, **__):
        raise KeyError("identifier 0a0b0c")

    monkeypatch.setattr("edge.page.page.StaffSessions.name", stumble)
    assert visitor.get("/node").status_code == 500
    assert site.events[-1]["error"] == "KeyError"
    assert site.events[-1]["reason"].startswith("test_page_guard.py:")
    assert "0a0b0c" not in str(site.events)


def test_static_files_are_these_and_no_others(site):
    visitor = site.visitor()
    assert visitor.get("/static/page.css").headers["content-type"] == "text/css; charset=utf-8"
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/..%2fapp.py", "/static/x.css"):
        assert visitor.get(path).status_code == 404


def test_without_tls_cookies_still_work_on_the_machine_itself(database):
    site = PageSite(database, certificate=None, private_key=None)
    site.employ()
    client = TestClient(site.app, base_url="http://localhost", client=("127.0.0.1", 1), follow_redirects=False)
    client.get("/sign-in")
    assert set(client.cookies) == {"jaga_visit"}
    site.close()
