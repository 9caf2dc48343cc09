"""What a configured process prints of errors, warnings and other libraries: in a process of its own each time."""

import json
import os
import resource
import subprocess
import sys

import pytest

RECORD = "145.667"
PROLOGUE = """
import logging, sys, threading, warnings
import structlog
from privacy.logs import LogFormat, configure, configure_process
configure_process({options})
log = structlog.get_logger()
row = "slot 5 has 145.667 minutes"
def fail():
    minutes = [145.667]
    raise ValueError(row)
"""
FAULTS = {
    "an uncaught error": "fail()",
    "an error in a thread": "t = threading.Thread(target=fail); t.start(); t.join()",
    "an error that nobody can raise": "class Row:\n  def __del__(self): fail()\nrow_ = Row(); del row_",
    "a logged error": "try:\n  fail()\nexcept ValueError:\n  log.exception('an error')",
    "an error as a value": "try:\n  fail()\nexcept ValueError as why:\n  log.error('an error', reason=why)",
    "an error with a cause": "try:\n  fail()\nexcept ValueError as why:\n  raise KeyError(row) from why",
    "an error while handling one": "try:\n  fail()\nexcept ValueError:\n  fail()",
    "a group of errors": "try:\n  fail()\nexcept ValueError as why:\n  raise ExceptionGroup(row, [why])",
    "an error with a note": "try:\n  fail()\nexcept ValueError as why:\n  why.add_note(row); raise",
    "a warning": "warnings.warn(row)",
    "a library's message": "logging.getLogger('flwr').error('%s', row)",
    "a library's message as a format": "logging.getLogger('uvicorn').warning(row + ' 100%')",
    "a library's own handler": "h = logging.StreamHandler(); logging.getLogger('x').addHandler(h)\n"
    "logging.getLogger('x').error(row)",
    "a library's logged error": "try:\n  fail()\nexcept ValueError:\n  logging.getLogger('bleak').exception(row)",
    "a value that is no plain value": "log.error('a row', row={'minutes': 145.667}, rows=[{'minutes': 145.667}])",
}


def printed(code: str, options: str = "") -> str:
    program = PROLOGUE.format(options=options) + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("options", ["", "LogFormat.JSON"])
def test_on_a_node_no_message_is_printed_and_something_is(fault, options):
    said = printed(FAULTS[fault], options)
    assert RECORD not in said
    assert len(said.splitlines()) > 0


def test_on_a_node_an_error_is_told_by_its_type_and_its_places():
    said = json.loads(printed("fail()", "LogFormat.JSON"))["exception"].splitlines()
    assert said[0] == "ValueError"
    assert said[-1].endswith("in fail")
    assert "<string>:" in said[-1]


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "a value that is no plain value"])
def test_at_the_centre_messages_are_printed_and_local_variables_are_not(fault):
    said = printed(FAULTS[fault], "messages=True")
    assert RECORD in said
    assert "[145.667]" not in said


def test_a_command_that_sets_the_format_keeps_the_messages_away():
    assert RECORD not in printed("configure(LogFormat.TEXT)\ntry:\n  fail()\nexcept ValueError:\n  log.exception('x')")


def test_a_process_and_its_children_leave_no_core_file():
    code = """
import ctypes, resource, subprocess
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
print(subprocess.run(["sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip())
"""
    assert printed(code).split("\n")[:2] == ["(0, 0) 0", "0"]


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CORE)[1] == 0, reason="core files are off on this machine")
def test_a_process_that_aborts_leaves_its_folder_empty(tmp_path):
    def unlimited() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)

    program = PROLOGUE.format(options="") + "import os; os.abort()"
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, preexec_fn=unlimited, check=False
    )
    assert done.returncode == -6
    assert list(tmp_path.iterdir()) == []
