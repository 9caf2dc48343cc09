from pathlib import Path

import pytest

from aggregator.config import BadConfig, CentralConfig, LoadedRun
from privacy.boundary.messages import Encoding

RUN = """
[run]
name = "first"
task = "crowding"
model = "crowding-public"
rounds = 10
"""


def test_a_run_file_needs_no_more_than_its_run():
    file = LoadedRun.parse(RUN).file
    assert (file.cohort.min_nodes, file.strategy.name, file.wire.encoding) == (2, "FedAvg", Encoding.INT8)
    assert file.evaluate is None
    assert file.ttl_s == 2 * file.cohort.deadline_s


def test_what_nodes_get_keeps_its_types():
    text = RUN + '[train]\nsteps = 1\nlearning-rate = 0.5\nname = "x"\nfast = true\nsizes = [1, 2]\n'
    train = LoadedRun.parse(text).file.train
    assert train == {"steps": 1, "learning-rate": 0.5, "name": "x", "fast": True, "sizes": [1, 2]}
    assert [type(value) for value in train.values()] == [int, float, str, bool, list]


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("[cohort]\nmin_nodes = 0", r"cohort\.min_nodes: .*greater than or equal to 1 \(got 0\)"),
        ("[cohort]\nmin_nodes = '3'", r"cohort\.min_nodes: .*valid integer \(got '3'\)"),
        ("[cohort]\nminnodes = 3", r"cohort\.minnodes: extra inputs are not permitted"),
        ("[cohort]\nfraction = 1.5", r"cohort\.fraction"),
        ("[wire]\nencoding = 'zip'", r"wire\.encoding: .*'exact' or 'int8' \(got 'zip'\)"),
        ("[train]\nrate = inf", r"train\.rate: .*finite"),
        ("[train]\nnested = { a = 1 }", r"train\.nested"),
        ("[strategy]\noptions = 3", r"strategy\.options"),
        ("[nonsense]\nx = 1", r"nonsense: extra inputs"),
        ("[run", "not TOML"),
    ],
)
def test_a_wrong_key_is_named_in_one_line(added, says):
    with pytest.raises(BadConfig, match=says) as caught:
        LoadedRun.parse(RUN + added, "first.toml")
    assert str(caught.value).startswith("first.toml: ")
    assert "\n" not in str(caught.value)


def test_all_wrong_keys_are_named_at_once():
    with pytest.raises(BadConfig, match=r"run\.model: field required.*run\.rounds"):
        LoadedRun.parse('[run]\nname = "x"\ntask = "y"\nrounds = 0\n')


@pytest.mark.parametrize("name", ["", "../up", "a" * 65, "new\nline"])
def test_a_name_that_is_no_name_is_refused(name):
    with pytest.raises(BadConfig, match=r"run\.name"):
        LoadedRun.parse(RUN.replace('"first"', repr(name).replace("'", '"')))


def test_a_run_has_the_same_id_wherever_it_is_started_and_another_in_another_federation():
    loaded = LoadedRun.parse(RUN)
    other = LoadedRun.parse(RUN.replace("first", "second"))
    assert loaded.run_id("jakarta") == LoadedRun.parse(RUN + "# a comment").run_id("jakarta")
    assert len({loaded.run_id("jakarta"), loaded.run_id("bandung"), other.run_id("jakarta")}) == 3
    assert 0 < loaded.run_id("jakarta") < 2**64


def test_a_run_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadConfig, match=r"no\.toml: cannot be read"):
        LoadedRun.read(tmp_path / "no.toml")


def central(folder: Path, text: str) -> CentralConfig:
    (folder / "central.toml").write_text(text, "utf-8")
    return CentralConfig.load(folder / "central.toml")


def test_paths_are_beside_the_file_that_names_them(tmp_path):
    config = central(tmp_path, 'broker = "mqtts://broker.example:8883"\ncredentials = "keys"\n')
    assert config.credentials == tmp_path / "keys"
    assert config.records == f"sqlite:///{tmp_path / 'central.db'}"


@pytest.mark.parametrize("url", ["postgresql://jaga@db/jaga", "sqlite:////var/lib/jaga.db", "sqlite://"])
def test_an_address_that_is_no_relative_file_stays_as_it_is(tmp_path, url):
    assert central(tmp_path, f'records = "{url}"\n').records == url


def test_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("JAGA_CENTRAL_BROKER", "mqtts://other:1883")
    assert central(tmp_path, 'broker = "mqtts://first:8883"\n').broker == "mqtts://other:1883"


@pytest.mark.parametrize(
    ("text", "says"), [("brokr = 'x'", "brokr: extra"), ("broker = 3", "broker: .*got 3"), ("broker", "central.toml")]
)
def test_a_wrong_central_file_is_named(tmp_path, text, says):
    with pytest.raises(BadConfig, match=says):
        central(tmp_path, text)


def test_a_central_file_that_is_not_there_says_what_makes_one(tmp_path):
    with pytest.raises(BadConfig, match="jaga-central init"):
        CentralConfig.load(tmp_path / "central.toml")
