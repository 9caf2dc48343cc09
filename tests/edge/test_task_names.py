"""Tasks that installed packages offer under a name, and what is said of those that cannot be used."""

import itertools

import pytest
from small_package import install

from edge.learning.tasks.task import ENTRY_POINT_GROUP, UnknownTask, load_task

NUMBERS = itertools.count()
QUIET = """
class Quiet:
    name = "quiet"

TASK = Quiet()
"""


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Installs a package of this name, with these entry points; its module has a name of its own in every test."""

    def install_it(package, entries, text=QUIET):
        module = f"own_tasks_{next(NUMBERS)}"
        values = {name: value.replace("own", module) for name, value in entries.items()}
        monkeypatch.syspath_prepend(install(tmp_path / package, package, ENTRY_POINT_GROUP, values, {module: text}))

    return install_it


def test_a_package_s_task_goes_by_the_name_of_its_entry_point(offer):
    offer("jaga-own", {"quiet": "own:TASK"})
    assert load_task("quiet").name == "quiet"
    with pytest.raises(UnknownTask, match="installed: crowding, proximity, quiet"):
        load_task("loud")


@pytest.mark.parametrize(
    ("value", "text", "says"),
    [
        ("own:TASK", "import no_such_library", r"'quiet' of jaga-own .*cannot be loaded: ModuleNotFoundError"),
        ("own:TASK", "1 / 0", "cannot be loaded: ZeroDivisionError"),
        ("own:NONE", QUIET, "cannot be loaded: AttributeError"),
        ("own:Quiet.__class__", QUIET, r"is none of that name: the entry point names <class 'type'>"),
        ("own:TASK", QUIET.replace('"quiet"', '"loud"'), "is none of that name"),
    ],
)
def test_an_entry_point_that_is_broken_is_named_with_its_package(offer, value, text, says):
    offer("jaga-own", {"quiet": value}, text)
    with pytest.raises(UnknownTask, match=says):
        load_task("quiet")
    assert load_task("crowding").name == "crowding"  # the others go on


def test_a_name_that_two_packages_offer_is_refused_and_both_are_named(offer):
    offer("jaga-own", {"crowding": "own:TASK"})
    with pytest.raises(UnknownTask, match=r"comes from jaga.* and from jaga.*uninstall"):
        load_task("crowding")
