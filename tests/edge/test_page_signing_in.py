"""Who gets in, who does not, and how a session ends."""

import statistics
import time

import pytest
from page_site import OTHER_PASSWORD, PASSWORD, PageSite, form_token, hashed, words

from edge.page.passwords import WeakPassword, check_strength, verified
from edge.page.throttle import FREE_TRIES, LONGEST_PAUSE_S, AddressThrottle
from edge.store.staff import LOCKING_FAILURE, Staff, StaffSessions

SESSION = "__Host-jaga_session"


@pytest.fixture
def site(database):
    made = PageSite(database)
    made.employ()
    yield made
    made.close()


def refused_to(visitor):
    return visitor.get("/").headers.get("location") == "/sign-in"


def test_without_a_session_every_page_leads_to_the_door(site):
    visitor = site.visitor()
    for path in ("/", "/node", "/privacy", "/account"):
        answer = visitor.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in")


def test_staff_sign_in_and_come_to_the_page_they_wanted(site):
    visitor = site.visitor()
    assert visitor.sign_in(next="/node").headers["location"] == "/node"
    assert visitor.get("/node").status_code == 200
    assert {"event": "signed_in", "account": "sari"} in site.events


def test_a_name_is_taken_as_a_phone_types_it(site):
    assert site.visitor().sign_in(" Sari ").status_code == 303


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example", "/\\evil.example", "/static/page.css", "x"]
)
def test_the_way_on_never_leads_elsewhere(site, place):
    assert site.visitor().sign_in(next=place).headers["location"] == "/"


def test_the_session_cookie_is_out_of_reach_of_scripts_other_sites_and_plain_http(site):
    cookie = site.visitor().sign_in().headers.get_list("set-cookie")[0]
    assert cookie.startswith(SESSION + "=")
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert attribute in cookie
    assert "Max-Age" not in cookie
    assert "Domain" not in cookie


def test_wrong_password_unknown_name_and_locked_account_get_the_same_answer(site):
    visitors = [site.visitor(f"192.168.1.{n}") for n in (10, 11, 12)]
    for n in range(LOCKING_FAILURE):
        site.visitor(f"192.168.2.{n}").sign_in("locked", "not the password")
    site.employ("locked")
    answers = [
        visitors[0].sign_in("sari", "not the password"),
        visitors[1].sign_in("nobody", "not the password"),
        visitors[2].sign_in("locked", PASSWORD),
    ]
    assert {answer.status_code for answer in answers} == {401}
    shown = {answer.text.replace(form_token(answer.text), "") for answer in answers}
    assert len(shown) == 1
    assert "wrong, or there were too many tries" in shown.pop()


def test_a_locked_account_is_named_to_the_node_and_an_unknown_name_is_not(site):
    for n in range(LOCKING_FAILURE):
        site.visitor(f"192.168.2.{n}").sign_in("sari", "not the password")
        site.visitor(f"192.168.3.{n}").sign_in(PASSWORD, "typed into the wrong field")
    assert site.events[-1] == {"event": "account_locked", "account": "sari", "for_s": 30}
    assert PASSWORD not in str(site.events)


def test_what_was_typed_as_a_name_or_password_is_not_in_the_store(site, plaintext):
    site.staff()
    site.visitor("192.168.1.9").sign_in("name of nobody", "a wrong password")
    site.ask(lambda store: store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    there = plaintext(site.database)
    assert b"$argon2id$v=19$m=32768,t=3,p=1$" in there
    for typed in (PASSWORD, "name of nobody", "a wrong password"):
        assert typed.encode() not in there


def test_a_locked_account_opens_again_by_itself(site):
    for n in range(LOCKING_FAILURE):
        site.visitor(f"192.168.2.{n}").sign_in("sari", "not the password")
    assert site.visitor("192.168.1.7").sign_in().status_code == 401
    site.now += 31
    assert site.visitor("192.168.1.8").sign_in().status_code == 303


def test_one_address_that_tries_many_names_has_to_wait(site):
    visitor = site.visitor()
    for n in range(FREE_TRIES):
        assert visitor.sign_in(f"name{n}", "not the password").status_code == 401
    answer = visitor.sign_in()
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= LONGEST_PAUSE_S
    assert site.visitor("192.168.1.99").sign_in().status_code == 303


def test_an_own_account_does_not_open_the_others_to_guessing(site):
    site.employ("budi")
    visitor = site.visitor()
    for n in range(FREE_TRIES):
        visitor.sign_in(f"name{n}", "not the password")
        if n % 3 == 0:
            assert visitor.sign_in("budi").status_code in (303, 429)
            visitor.client.cookies.clear()
    assert visitor.sign_in("budi").status_code == 429


def test_an_address_may_try_again_after_a_pause_that_grows_to_a_limit():
    now = [0.0]
    throttle = AddressThrottle(lambda: now[0])
    pauses = []
    for _ in range(FREE_TRIES + 10):
        assert throttle.count("10.0.0.1") == 0
        pauses.append(throttle.count("10.0.0.1") if len(pauses) >= FREE_TRIES - 1 else 0.0)
        now[0] += pauses[-1]
    assert pauses[FREE_TRIES - 1 :] == sorted(pauses[FREE_TRIES - 1 :])
    assert max(pauses) == LONGEST_PAUSE_S


def test_neighbours_in_one_ipv6_network_count_together_and_memory_is_bounded():
    throttle = AddressThrottle(lambda: 0.0)
    for n in range(FREE_TRIES):
        assert throttle.count(f"fd00::{n:x}") == 0
    assert throttle.count("fd00::ffff") > 0
    for n in range(3000):
        throttle.count(f"10.0.{n // 250}.{n % 250}")
    assert len(throttle._tries) <= 1024


def test_an_unknown_name_takes_as_long_as_a_wrong_password():
    known = hashed(PASSWORD)

    def seconds(phc):
        begin = time.process_time()
        assert not verified("not the password", phc)
        return time.process_time() - begin

    verified("", None)
    ratio = statistics.median(seconds(None) for _ in range(5)) / statistics.median(seconds(known) for _ in range(5))
    assert 0.5 < ratio < 2


def test_an_unknown_name_takes_the_same_way_through_the_store_as_a_known_one(site):
    asked = []
    ask = site.page.desk.ask

    def listen(question):
        asked.append(question)
        return ask(question)

    site.page.desk.ask = listen
    ways = []
    for name in ("sari", "nobody"):
        writes = site.ask(lambda store: store.execute("SELECT count(*) FROM sign_in_failures").fetchone()[0])
        asked.clear()
        site.visitor("192.168.1.77").sign_in(name, "not the password")
        after = site.ask(lambda store: store.execute("SELECT count(*) FROM sign_in_failures").fetchone()[0])
        ways.append((len(asked), after - writes))
    assert ways[0] == ways[1] == (2, 1)


@pytest.mark.parametrize("token", ["", "0" * 64, None])
def test_a_form_without_its_token_does_nothing(site, token):
    visitor = site.visitor()
    visitor.get("/sign-in")
    fields = {"name": "sari", "password": PASSWORD} | ({} if token is None else {"form_token": token})
    assert visitor.client.post("/sign-in", data=fields).status_code == 403
    assert refused_to(visitor)


def test_another_browsers_form_token_does_nothing(site):
    mallory, victim = site.visitor(), site.staff()
    token = form_token(mallory.get("/sign-in").text)
    assert victim.client.post("/sign-out", data={"form_token": token}).status_code == 403
    assert not refused_to(victim)


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_a_form_that_another_site_sends_does_nothing_even_with_its_token(site, headers):
    visitor = site.staff()
    assert visitor.send("/sign-out", headers=headers).status_code == 403
    assert not refused_to(visitor)


def test_signing_out_ends_the_session_for_a_copied_cookie_too(site):
    visitor = site.staff()
    copied = visitor.client.cookies[SESSION]
    assert visitor.send("/sign-out").headers["location"] == "/sign-in?said=out"
    thief = site.visitor()
    thief.client.cookies.set(SESSION, copied, domain="jaga.sekolah.id")
    assert refused_to(thief)


def test_a_new_password_ends_all_sessions_and_the_old_one_opens_nothing(site):
    here, there = site.staff(), site.staff(address="192.168.1.6")
    answer = here.send("/account/password", current=PASSWORD, new=OTHER_PASSWORD, repeat=OTHER_PASSWORD)
    assert answer.headers["location"] == "/sign-in?said=changed"
    assert refused_to(here)
    assert refused_to(there)
    assert site.visitor().sign_in("sari", PASSWORD).status_code == 401
    assert site.visitor().sign_in("sari", OTHER_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "repeat", "said"),
    [
        ("not it at all", OTHER_PASSWORD, OTHER_PASSWORD, "The password now is wrong"),
        (PASSWORD, OTHER_PASSWORD, OTHER_PASSWORD + "x", "differ"),
        (PASSWORD, "short", "short", "too short: at least 10"),
        (PASSWORD, "x" * 129, "x" * 129, "too long: at most 128"),
        (PASSWORD, "sari sari sari", "sari sari sari", "easy to guess"),
        (PASSWORD, "aaaaaaaaaaaa", "aaaaaaaaaaaa", "easy to guess"),
    ],
)
def test_a_password_that_cannot_be_set_says_why_and_changes_nothing(site, current, new, repeat, said):
    visitor = site.staff()
    answer = visitor.send("/account/password", current=current, new=new, repeat=repeat)
    assert answer.status_code in (403, 422)
    assert said in words(answer.text)
    assert not refused_to(visitor)


def test_guessing_the_password_in_a_stolen_session_locks_the_account(site):
    visitor = site.staff()
    for _ in range(LOCKING_FAILURE):
        visitor.send("/account/password", current="not it at all", new=OTHER_PASSWORD, repeat=OTHER_PASSWORD)
    answer = visitor.send("/account/password", current=PASSWORD, new=OTHER_PASSWORD, repeat=OTHER_PASSWORD)
    assert answer.status_code == 403


def test_signing_out_everywhere_ends_the_sessions_of_this_account_alone(site):
    site.employ("budi")
    here, there, other = site.staff(), site.staff(address="192.168.1.6"), site.staff("budi", address="192.168.1.7")
    assert "signed in on 2 devices" in words(here.get("/account").text)
    here.send("/account/sign-out-everywhere")
    assert [refused_to(one) for one in (here, there, other)] == [True, True, False]


def test_a_removed_account_is_out_at_once(site):
    visitor = site.staff()
    site.ask(lambda store: Staff(store).remove("sari"))
    assert refused_to(visitor)


def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_a_shift(site):
    idle, busy = site.staff(), site.staff(address="192.168.1.6")
    for _ in range(int(8 * 3600 / 600)):
        site.now += 600
        assert not refused_to(busy)
    site.now += 61
    assert refused_to(busy)
    assert refused_to(idle)


def test_idleness_ends_a_session_after_a_quarter_of_an_hour(site):
    visitor = site.staff()
    site.now += 901
    assert refused_to(visitor)
    site.now -= 901
    assert refused_to(visitor)


def test_a_page_that_refreshes_itself_does_not_keep_a_session_alive(site):
    visitor = site.staff()
    for _ in range(3):
        site.now += 300
        assert visitor.get("/?live=1").status_code == 200
    site.now += 1
    assert visitor.get("/?live=1").status_code == 303


@pytest.mark.parametrize("cookie", ["", "null", "x.y", '"a b"', "." * 3000])
def test_a_forged_cookie_is_nobodys_session(site, cookie):
    visitor = site.visitor(cookie=f"{SESSION}={cookie}")
    assert refused_to(visitor)


def test_a_visits_cookie_is_no_session_and_signing_in_makes_a_new_token(site):
    visitor = site.visitor()
    visitor.get("/sign-in")
    visit = visitor.client.cookies["__Host-jaga_visit"]
    visitor.sign_in()
    assert visit.partition(".")[0] not in visitor.client.cookies[SESSION]
    fixed = site.visitor(cookie=f"{SESSION}={visit}")
    assert refused_to(fixed)


def test_a_password_that_changes_while_another_is_checked_opens_nothing(site, monkeypatch):
    def verify_slowly(password, phc):
        site.ask(lambda store: Staff(store).set_password("sari", hashed(OTHER_PASSWORD), site.now))
        return verified(password, phc)

    monkeypatch.setattr("edge.page.signing_in.passwords.verified", verify_slowly)
    assert site.visitor().sign_in().status_code == 401
    assert site.ask(lambda store: StaffSessions(store).count("sari")) == 0


def test_strength_asks_for_length_and_not_for_signs():
    check_strength("hujan turun pelan", "sari")
    with pytest.raises(WeakPassword, match="three or four words"):
        check_strength("P4$$word", "sari")


def test_a_password_is_the_same_however_a_keyboard_composes_its_letters():
    assert verified("cafe\u0301 di pasar", hashed("caf\u00e9 di pasar"))
    assert not verified(PASSWORD + "x" * 200, hashed(PASSWORD))
