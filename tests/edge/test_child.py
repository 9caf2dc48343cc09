"""A child process of the node, kept running by the real class: small programs stand in for what it runs."""

import subprocess
import sys
import textwrap

import msgspec
import pytest
from waiting import wait_until

from edge import child as children
from edge.child import Child
from edge.pulse import PULSE_S, Pulse
from edge.store.connection import transaction
from edge.store.health import Health


class Told(msgspec.Struct):
    word: str = "secret"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a child that runs a program of a few lines."""
    monkeypatch.setattr(children, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = []

    def start(program, **options):
        (tmp_path / "small_program.py").write_text(textwrap.dedent(program))
        heard = []
        child = Child("small", "small_program", Told(), on_event=heard.append, **options)
        child.keep_running()
        started.append(child)
        return child, heard

    yield start
    for child in started:
        child.stop()


SAYS = """
    import json, sys, time
    def say(event, **more): print(json.dumps({"event": event, **more}), flush=True)
    settings = sys.stdin.readline()
"""


def test_it_is_told_its_settings_where_no_other_user_can_read_them(start):
    _, heard = start(
        SAYS + "\n    say('told', settings=settings, arguments=' '.join(sys.argv[1:]))\n    time.sleep(60)"
    )
    wait_until(lambda: heard)
    assert heard == [{"event": "told", "settings": '{"word":"secret"}\n', "arguments": ""}]


def test_one_that_dies_is_started_again_and_is_in_trouble_until_it_speaks(start, tmp_path):
    child, heard = start(
        SAYS
        + f"""
    from pathlib import Path
    if not Path({str(tmp_path / "again")!r}).exists(): sys.exit(7)
    say('working')
    time.sleep(60)
    """
    )
    wait_until(lambda: not child.running)
    child.keep_running()
    assert child.trouble == "small stopped with exit code 7"
    assert child.state == "trouble"
    (tmp_path / "again").touch()

    def working():
        child.keep_running()
        return heard

    wait_until(working)
    wait_until(lambda: child.trouble is None)
    assert child.state == "well"


def test_one_that_has_done_its_work_is_left_in_peace(start):
    child, heard = start(SAYS + "\n    say('done')")
    wait_until(lambda: heard and not child.running)
    child.keep_running()
    child.keep_running()
    assert child.pid is None
    assert child.state == "off"


def test_what_says_nothing_sensible_is_not_listened_to(start):
    _, heard = start(SAYS + "\n    print('no json'); print('[1]'); say('sensible')\n    time.sleep(60)")
    wait_until(lambda: heard)
    assert heard == [{"event": "sensible"}]


def test_one_that_does_not_stop_is_killed(start, monkeypatch):
    monkeypatch.setattr(children, "GRACE_S", 0.2)
    child, heard = start(
        SAYS + "\n    import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); say('stubborn')\n    time.sleep(60)"
    )
    wait_until(lambda: heard)
    child.stop()
    assert not child.running


def heed(*events):
    child = Child("small", "small_program", Told())
    for event in events:
        child._heed(event)
    return child.trouble


RADIO_1 = {"event": "radio_trouble", "adapter": "hci1", "reason": "hci1 is unplugged"}
FULL = {"event": "store_full", "reason": "no room"}


@pytest.mark.parametrize(
    ("events", "trouble"),
    [
        ([], None),
        ([FULL], "no room"),
        ([FULL, {"event": "heard"}], "no room"),
        ([FULL, {"event": "store_recovered"}], None),
        ([RADIO_1, {"event": "radio_recovered", "adapter": "hci0"}], "hci1 is unplugged"),
        ([RADIO_1, {"event": "store_recovered"}], "hci1 is unplugged"),
        ([RADIO_1, {"event": "radio_recovered", "adapter": "hci1"}], None),
        ([FULL, RADIO_1], "no room; hci1 is unplugged"),
        ([{"event": "failed", "error": "WrongKey", "reason": "wrong key"}], "wrong key"),
        ([{"event": "failed", "reason": "wrong key"}, {"event": "listening"}], None),
        ([FULL, {"event": "failed", "reason": "wrong key"}, {"event": "listening"}], None),
    ],
)
def test_a_trouble_lasts_until_what_ends_it(events, trouble):
    assert heed(*events) == trouble


def test_states_are_written_when_they_change_and_once_a_minute(connection):
    pulse, writes = Pulse(connection), []

    def tell(parts, at):
        before = connection.total_changes
        pulse.tell(parts, at)
        writes.append(connection.total_changes - before)

    for at in (1000.0, 1000.5, 1000 + PULSE_S, 1001 + PULSE_S):
        tell({"node": ("well", ""), "broker": ("waiting", "")}, at)
    tell({"node": ("well", ""), "broker": ("well", "")}, 1002 + PULSE_S)
    assert writes == [2, 0, 2, 0, 2]
    broker = Health(connection).parts()["broker"]
    assert (broker.state, broker.since, broker.at) == ("well", 1002 + PULSE_S, 1002 + PULSE_S)
    assert Health(connection).parts()["node"].since == 1000


def test_a_store_that_takes_nothing_now_is_told_the_next_time(database, connection):
    other = database.connect()
    other.execute("PRAGMA busy_timeout = 10")
    pulse = Pulse(other)
    with transaction(connection):
        pulse.tell({"node": ("well", "")}, 1000.0)
    assert Health(connection).parts() == {}
    pulse.tell({"node": ("well", "")}, 1000.5)
    assert Health(connection).parts()["node"].at == 1000.5
    other.close()


def test_a_node_that_serves_a_page_does_not_carry_a_web_server_itself():
    program = "import sys, edge.page.child, edge.pulse; print([m for m in sys.modules])"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for heavy in ("starlette", "uvicorn", "jinja2", "itsdangerous"):
        assert f"'{heavy}'" not in modules
