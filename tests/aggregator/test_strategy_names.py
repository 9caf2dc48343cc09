"""Strategies that installed packages offer under a name, and what is said of those that cannot be used."""

import itertools

import pytest
from flwr.serverapp.strategy import FedAvg
from small_package import install

from aggregator.strategies.averaging import TailAverage
from aggregator.strategies.registry import ENTRY_POINT_GROUP, BadStrategy, make, names, offered, parameters
from aggregator.strategies.streaming import Streaming

NUMBERS = itertools.count()
HALVED = """
from flwr.serverapp.strategy import FedAvgM

class Halved(FedAvgM):
    def __init__(self, by=2.0, **options):
        super().__init__(server_learning_rate=1 / by, **options)

class Unfinished(FedAvgM.__mro__[2]):
    pass
"""


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Installs a package of this name, with these entry points; its module has a name of its own in every test."""

    def install_it(package, entries, text=HALVED):
        module = f"own_strategies_{next(NUMBERS)}"
        values = {name: value.replace("own", module) for name, value in entries.items()}
        monkeypatch.syspath_prepend(install(tmp_path / package, package, ENTRY_POINT_GROUP, values, {module: text}))

    return install_it


def test_a_package_s_strategy_goes_by_the_name_of_its_entry_point(offer):
    offer("jaga-own", {"halved": "own:Halved"})
    strategy = make("halved", {"by": 4.0}, streaming=True)
    assert isinstance(strategy, Streaming)
    assert type(strategy.inner).__name__ == "Halved"
    assert strategy.inner.server_learning_rate == 0.25
    assert offered() == ["TailAverage", "halved"]


def test_options_that_are_handed_on_to_the_class_above_are_taken_too(offer):
    offer("jaga-own", {"halved": "own:Halved"})
    assert {"by", "fraction_train", "min_available_nodes"} <= parameters("halved")
    assert "options" not in parameters("halved")
    assert make("halved", {"min_train_nodes": 7}, streaming=False).min_train_nodes == 7
    with pytest.raises(BadStrategy, match="no option 'fraction_trian': did you mean fraction_train"):
        make("halved", {"fraction_trian": 0.5}, streaming=False)


def test_an_option_that_the_class_above_is_given_twice_is_said(offer):
    offer("jaga-own", {"halved": "own:Halved"})
    with pytest.raises(BadStrategy, match=r"does not accept its options.*server_learning_rate"):
        make("halved", {"server_learning_rate": 1.0}, streaming=False)


def test_jaga_offers_its_own_as_any_package_does_beside_flower_s():
    assert offered() == ["TailAverage"]
    assert type(make("TailAverage", {}, streaming=False, rounds=4)) is TailAverage
    assert type(make("FedAvg", {}, streaming=False)) is FedAvg


@pytest.mark.parametrize(
    ("value", "text", "says"),
    [
        ("own:Halved", "import no_such_library", r"of jaga-own .*cannot be loaded: ModuleNotFound.*no_such_library"),
        ("own:Halved", "raise RuntimeError('no licence')", "cannot be loaded: RuntimeError: no licence"),
        ("own:Doubled", HALVED, "cannot be loaded: AttributeError.*Doubled"),
        ("own:Unfinished", HALVED, "of jaga-own .*Unfinished.* is none that can be made"),
        ("pathlib:Path", HALVED, r"of jaga-own \(pathlib:Path\) is none that can be made"),
    ],
)  # fmt: skip
def test_an_entry_point_that_is_broken_is_named_with_its_package(offer, value, text, says):
    offer("jaga-own", {"halved": value}, text)
    with pytest.raises(BadStrategy, match=says):
        make("halved", {}, streaming=False)
    assert type(make("FedAvg", {}, streaming=False)) is FedAvg  # the others go on


def test_a_name_that_two_packages_offer_is_refused_and_both_are_named(offer):
    offer("jaga-own", {"halved": "own:Halved"})
    offer("jaga-other", {"halved": "own:Halved"})
    with pytest.raises(BadStrategy, match=r"comes from jaga-.*own.* and from jaga-.*module:Class"):
        make("halved", {}, streaming=False)


def test_a_package_that_takes_one_of_flower_s_names_is_not_taken_for_it(offer):
    offer("jaga-own", {"FedAvg": "own:Halved"})
    with pytest.raises(BadStrategy, match=r"from jaga-own .* and from flwr itself"):
        make("FedAvg", {}, streaming=False)
    assert type(make("flwr.serverapp.strategy:FedAvg", {}, streaming=False)) is FedAvg


def test_a_name_that_nobody_offers_is_answered_with_those_that_there_are(offer):
    offer("jaga-own", {"halved": "own:Halved", "quartered": "own:Halved"})
    with pytest.raises(BadStrategy, match="did you mean halved"):
        make("halfed", {}, streaming=False)
    with pytest.raises(BadStrategy, match=r"flwr ships .*FedMedian.* packages offer TailAverage, halved, quartered"):
        make("xyz", {}, streaming=False)
    assert "halved" not in names()
