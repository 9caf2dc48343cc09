"""What staff see: alerts, the node's health, and what left."""

import re

import pytest
from page_site import NOON, TODAY, PageSite, form_token, words

from edge.page import condition
from edge.sensing.advertisement import Advertisement
from edge.sensing.sightings import fold
from edge.store.exposures import Exposure, Exposures
from edge.store.health import Health
from edge.store.listening import Listening
from edge.store.sightings import Sightings
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog

MINUTE = 60.0


@pytest.fixture
def make_site(database):
    made = []

    def make(**settings):
        made.append(PageSite(database, **settings))
        made[0].employ()
        return made[0]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def site(make_site):
    return make_site()


def exposure(subject="Tag 17", day=TODAY, room="Kelas 3B", mode="zone", score=38.1):
    return Exposure(day, subject, mode, room, 42.3, score, 0.74)


def test_an_alert_says_who_where_how_long_and_how_sure(site):
    site.expose(exposure())
    shown = words(site.staff().get("/").text)
    for part in ("1 new alert", "Tuesday 24 November 2026", "Tag 17", "Kelas 3B", "42.3 min", "38.1 min", "74% likely"):
        assert part in shown
    assert "An alert is no diagnosis" in shown


def test_without_alerts_there_is_nobody_to_tell(site):
    assert "Nobody of this site has to be told" in words(site.staff().get("/").text)


def test_marking_an_alert_notes_who_and_when_and_the_first_one_stays(site):
    site.employ("budi")
    site.expose(exposure())
    sari, budi = site.staff(), site.staff("budi")
    number = site.ask(lambda store: Exposures(store).stored()[0].id)
    assert sari.send(f"/alerts/{number}/seen", "/").headers["location"] == "/"
    site.now += 60
    budi.send(f"/alerts/{number}/seen", "/account")
    (stored,) = site.ask(lambda store: Exposures(store).stored())
    assert (stored.seen_by, stored.seen_at) == ("sari", NOON)
    shown = words(budi.get("/?show=alerts").text)
    assert "Seen by sari, 24 Nov 2026, 12:00 WIB" in shown
    assert "No new alerts" in shown


@pytest.mark.parametrize("number", ["0", "999", str(2**63), str(2**200)])
def test_marking_what_is_not_there_does_nothing(site, number):
    assert site.staff().send(f"/alerts/{number}/seen").status_code == 303


def test_marking_needs_a_session_and_the_forms_token(site):
    site.expose(exposure())
    number = site.ask(lambda store: Exposures(store).stored()[0].id)
    assert site.visitor().client.post(f"/alerts/{number}/seen", data={"a": "b"}).headers["location"] == "/sign-in"
    assert site.staff().client.post(f"/alerts/{number}/seen", data={"a": "b"}).status_code == 403
    assert site.staff().get(f"/alerts/{number}/seen").status_code == 405
    assert site.ask(lambda store: Exposures(store).stored()[0].seen_at) is None


def test_each_list_shows_what_it_says(site):
    site.expose(exposure("Tag 01"), exposure("Tag 02"), exposure("Tag 03", score=3.0))
    visitor = site.staff()
    first = site.ask(
        lambda store: next(one.id for one in Exposures(store).stored() if one.exposure.subject == "Tag 01")
    )
    visitor.send(f"/alerts/{first}/seen", "/")
    lists = {
        name: re.findall(r"Tag 0\d", words(visitor.get(f"/?show={name}").text)) for name in ("new", "alerts", "all")
    }
    assert {name: sorted(set(found)) for name, found in lists.items()} == {
        "new": ["Tag 02"],
        "alerts": ["Tag 01", "Tag 02"],
        "all": ["Tag 01", "Tag 02", "Tag 03"],
    }
    assert "Below the alert threshold" in words(visitor.get("/?show=all").text)
    assert visitor.get("/?show=<script>").status_code == 200


def test_the_zone_and_the_wearer_are_named_as_what_they_are(site):
    site.expose(exposure("", room="Aula"), exposure("", room="", mode="person"))
    shown = words(site.staff().get("/").text)
    assert "Everyone who was in Aula that day" in shown
    assert "Whoever wore this node that day" in shown


def test_a_label_is_text_and_never_markup(site):
    site.expose(exposure("<script>alert(1)</script>", room='" onmouseover="x'))
    html = site.staff().get("/").text
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert ' onmouseover="' not in html


def test_a_long_list_is_turned_page_by_page_and_loses_nothing(site):
    site.expose(*(exposure(f"Tag {n:03}") for n in range(120)))
    visitor = site.staff()
    seen = []
    for page in range(3):
        html = visitor.get(f"/?show=all&page={page}").text
        seen += re.findall(r"<h3[^>]*><bdi>(Tag \d+)</bdi>", html)
        assert ("Older" in html, "Newer" in html) == (page < 2, page > 0)
    assert sorted(seen) == [f"Tag {n:03}" for n in range(120)]
    for page in ("-1", "x", "9" * 500, "١"):
        assert visitor.get(f"/?page={page}").status_code == 200


def test_it_refreshes_by_itself_only_where_staff_asked_for_it(site):
    visitor = site.staff()
    assert 'http-equiv="refresh"' not in visitor.get("/").text
    assert '<meta http-equiv="refresh" content="30">' in visitor.get("/node?live=1").text


def test_no_identifier_key_or_digest_is_on_any_page(site):
    identifier, key, digest = bytes(range(100, 116)), bytes(range(150, 166)), bytes(range(200, 232))

    def write(store):
        heard = Advertisement(identifier, NOON, -60, b"meta")
        Sightings(store).add(fold([heard]), NOON)
        store.execute("INSERT INTO seen_keys VALUES (?, ?)", (key, TODAY))
        AuditLog(store).append(kind="case", recipient="health", payload=b"x", sha256=digest, note="14 day keys")

    site.ask(write)
    site.expose(exposure())
    visitor = site.staff()
    for path in ("/?show=all", "/node", "/privacy", "/account"):
        html = visitor.get(path).text.lower()
        for secret in (identifier, key, digest):
            assert secret.hex() not in html
            assert secret[:4].hex() not in html


def write_health(site, **parts):
    for part, state in parts.items():
        site.ask(
            lambda store, part=part, state=state: Health(store).tell(part, state, site.now, "words of a technician")
        )


def node_page(site):
    return words(site.staff().get("/node").text)


def check(site, name):
    """State and sentence of one check."""
    html = site.staff().get("/node").text
    (found,) = [
        item
        for item in re.findall(r"<li class=.*?</li>", html, re.DOTALL)
        if f">{name} " in item.replace("<h3>", "<h3>>")
    ]
    return re.search(r'<li class="(\w+)"', found)[1], words(found)


def test_a_node_that_is_well_says_so(site, monkeypatch):
    monkeypatch.setattr(condition, "clock_is_kept", lambda: True)
    site.ask(lambda store: Listening(store).add(NOON - 5 * 3600, NOON - 30, NOON - 30))
    write_health(site, node="well", sensing="well", broker="well")
    shown = node_page(site)
    assert "This node is well" in shown
    assert "5.0 of the last 24 hours listened" in shown
    assert "words of a technician" in shown


@pytest.mark.parametrize(
    ("late_s", "state", "said"),
    [(60, "well", "Listening, up to 1 minute ago"), (601, "trouble", "Has not listened since 24 Nov 2026, 11:49 WIB")],
)
def test_it_says_whether_it_listens_now(site, late_s, state, said):
    site.ask(lambda store: Listening(store).add(NOON - 3600, NOON - late_s, NOON))
    found, sentence = check(site, "Listening")
    assert found == state
    assert said in sentence


def test_a_node_that_never_listened_needs_attention_and_the_first_page_says_so_too(site):
    assert check(site, "Listening")[0] == "trouble"
    assert "need attention" in words(site.staff().get("/").text)


def test_a_recording_is_never_taken_for_people_of_this_site(make_site):
    site = make_site(replay=True)
    site.ask(lambda store: Listening(store).add(0, 4000, NOON))
    assert check(site, "Listening")[0] == "note"
    shown = node_page(site)
    assert "Nothing here is about people at this site" in shown
    assert "1970" not in shown


def test_a_node_without_a_radio_is_not_in_trouble_for_it(make_site):
    site = make_site(listens=False)
    assert check(site, "Listening")[0] == "note"
    assert check(site, "Radio")[0] == "note"


@pytest.mark.parametrize(
    ("state", "age_s", "shown_as"),
    [("well", 0, "well"), ("trouble", 0, "trouble"), ("waiting", 0, "note"), ("well", 700, "note")],
)
def test_a_part_is_shown_as_the_node_said_until_that_is_old(site, state, age_s, shown_as):
    write_health(site, sensing=state)
    site.now += age_s
    assert check(site, "Radio")[0] == shown_as


def test_a_line_that_stays_down_becomes_a_trouble(site):
    write_health(site, broker="waiting")
    assert check(site, "Line to the centre")[0] == "note"
    site.now += 700
    write_health(site, broker="waiting")
    state, sentence = check(site, "Line to the centre")
    assert state == "trouble"
    assert "since 24 Nov 2026, 12:00 WIB" in sentence


def test_a_node_program_that_does_not_run_is_a_trouble(site):
    assert check(site, "Node program")[0] == "trouble"
    write_health(site, node="well")
    assert check(site, "Node program")[0] == "well"
    site.now += 700
    assert check(site, "Node program")[0] == "trouble"


def test_keys_that_do_not_come_are_noticed(make_site):
    site = make_site(traces=True)
    assert "there can be no alerts" in check(site, "Keys of cases")[1]
    site.ask(
        lambda store: store.execute(
            "INSERT INTO key_batches (digest, region, batch, starts_at, ends_at, received_at, export) "
            "VALUES (?, 'ID-JK', '1-1', 0, 1, ?, x'00')",
            (bytes(32), NOON),
        )
    )
    state, sentence = check(site, "Keys of cases")
    assert (state, "1 delivery is still to be compared" in sentence) == ("note", True)
    site.now += 3 * 86400
    assert check(site, "Keys of cases")[0] == "trouble"


def test_records_that_should_be_gone_are_a_trouble(site):
    site.ask(lambda store: Listening(store).add(NOON - 20 * 86400, NOON - 20 * 86400 + 60, NOON - 20 * 86400))
    assert check(site, "Deleting old records")[0] == "trouble"


@pytest.mark.parametrize(("free", "state"), [(5e9, "well"), (9e8, "note"), (1e8, "trouble")])
def test_a_disk_that_fills_up_is_told_in_time(site, monkeypatch, free, state):
    class Disk:
        f_bavail, f_blocks, f_frsize = int(free), int(32e9), 1

    monkeypatch.setattr(condition.os, "statvfs", lambda _: Disk)
    assert check(site, "Disk")[0] == state


@pytest.mark.parametrize(("kept", "state"), [(True, "well"), (False, "note"), (None, "note")])
def test_a_clock_that_nothing_keeps_right_is_told(site, monkeypatch, kept, state):
    monkeypatch.setattr(condition, "clock_is_kept", lambda: kept)
    assert check(site, "Clock")[0] == state


def test_a_clock_that_was_set_back_is_a_trouble(site):
    write_health(site, node="well")
    site.now -= 3600
    assert check(site, "Clock")[0] == "trouble"


def test_the_kernel_can_be_asked_about_the_clock():
    assert condition.clock_is_kept() in (True, False, None)


@pytest.mark.parametrize(
    ("mode", "can_not"),
    [
        ("zone", "How near two people were"),
        ("room", "An exact distance"),
        ("person", "Anything about two other people"),
    ],
)
def test_each_mode_says_what_it_cannot_say(make_site, mode, can_not):
    assert can_not in node_page(make_site(mode=mode))


def test_what_left_is_listed_the_newest_first_and_found_whole(site):
    def write(store):
        for n in range(60):
            AuditLog(store).append(kind="reply", recipient="leader", payload=bytes(1000 + n), entries=[n], note="a run")

    site.ask(write)
    visitor = site.staff()
    html = visitor.get("/privacy").text
    assert re.findall(r'<th scope="row"[^>]*>(\d+)</th>', html) == [str(n) for n in range(60, 10, -1)]
    shown = words(html)
    for part in ("60 messages", "This list is whole", "Training result, with noise", "leader", "1.1 kB"):
        assert part in shown
    assert len(re.findall(r'<th scope="row"', visitor.get("/privacy?page=1").text)) == 10


def test_a_row_that_was_tampered_with_is_named(site):
    def write(store):
        for _ in range(3):
            AuditLog(store).append(kind="reply", recipient="leader", payload=b"x")
        store.execute("DROP TRIGGER audit_log_keeps_rows")
        store.execute("UPDATE audit_log SET recipient = 'nobody' WHERE row = 2")

    site.ask(write)
    shown = words(site.staff().get("/privacy").text)
    assert "changed from row 2 on" in shown
    assert "This list is whole" not in shown


def test_nothing_spent_is_known_without_working_it_out(site):
    PrivacyLedger(site.database.connect(), Budget(8.0, 1e-6, 86400.0))
    shown = words(site.staff().get("/privacy").text)
    assert "0.00 of 8.00 spent" in shown
    assert "at delta 0.000001" in shown


def test_the_first_page_carries_the_token_of_its_own_session(site):
    one, two = site.staff(), site.staff(address="192.168.1.6")
    assert form_token(one.get("/").text) != form_token(two.get("/").text)
