"""Public data sets by name: that each split is what its card says, and that nothing held out is learnt from."""

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge.learning.tasks.task import load_task
from edge.store.slots import DAY_S, SLOT_S
from simulations.datasets.card import cards
from simulations.datasets.catalogue import card_of, load
from simulations.datasets.exp34 import SCENES, load_exp34
from simulations.datasets.files import BadData, UnverifiedData
from simulations.datasets.nist import DISTANCES_CM, load_nist
from simulations.datasets.proximity import exp34_sites, nist_sites

CROWDING = ("lyon-school", "thiers-2011", "thiers-2012", "lyon-ward", "invs-workplace")
COUNTS = {
    "lyon-school": (11, 187, 187),
    "thiers-2011": (4, 256, 336),
    "thiers-2012": (5, 460, 325),
    "lyon-ward": (4, 564, 192),
    "invs-workplace": (5, 495, 490),
    "exp34": (18, 1758, 1530),
    "nist-pi": (3, 264, 496),
}
DIGESTS = {
    "lyon-school": "79488194e5df190e",
    "thiers-2011": "5fe0ce556ff7c6dc",
    "thiers-2012": "bd769d3277afeedf",
    "lyon-ward": "4075384f1cdf4191",
    "invs-workplace": "2cc3ec60802e1a2f",
    "exp34": "cb6171d11cf51ff5",
    "nist-pi": "5cac5bb3d4337da9",
}

loaded = cache(load)
recorded_scenes = cache(load_exp34)
recorded_stretches = cache(load_nist)


def digest(data):
    """Of every number of every record, to six decimals; records are numbers, and observations in units."""
    seen = hashlib.sha256()
    for site in data.sites:
        for part in (site.training, site.held_out):
            numbers = (
                part
                if data.task == "crowding"
                else [(float(one.near), *one.features, len(unit)) for unit in part for one in unit]
            )
            seen.update(site.name.encode())
            seen.update("".join(f"{number:.6f} " for row in numbers for number in row).encode())
    return seen.hexdigest()[:16]


def test_every_set_that_experiments_name_has_a_card():
    assert tuple(cards()) == (*CROWDING, "exp34", "nist-pi") == tuple(COUNTS)
    assert all(card.citation and card.licence and card.answers and card.does_not_answer for card in cards().values())


@pytest.mark.parametrize("name", COUNTS)
def test_sites_and_examples_are_as_many_as_were_counted_and_as_the_card_says(name, shared_data):
    data, card = loaded(name, shared_data), cards()[name]
    task = load_task(data.task)
    training = sum(len(task.examples(site.training)) for site in data.sites)
    held_out = sum(len(task.examples(site.held_out)) for site in data.sites)
    assert (len(data.sites), training, held_out) == COUNTS[name]
    assert (card.task, card.sites, card.training, card.held_out) == (data.task, *COUNTS[name])
    assert data.name == name


@pytest.mark.parametrize("name", COUNTS)
def test_a_split_is_the_same_on_every_machine(name, shared_data):
    assert digest(loaded(name, shared_data)) == DIGESTS[name]


def test_the_documented_table_is_that_of_the_cards():
    lines = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8").splitlines()
    rows = {line.split("`")[1]: [cell.strip() for cell in line.split("|")[4:9]] for line in lines if line[:3] == "| `"}
    assert rows.keys() == cards().keys()
    for name, (_, nodes, examples, _, licence) in rows.items():
        card = cards()[name]
        assert (nodes, examples) == (str(card.sites), f"{card.training} / {card.held_out}")
        assert card.licence.startswith(licence)


@pytest.mark.parametrize("name", CROWDING)
def test_every_held_out_slot_is_of_a_later_day_than_all_that_is_learnt_from(name, shared_data):
    for site in loaded(name, shared_data).sites:
        last = max(slot for slot, _ in site.training) * SLOT_S // DAY_S
        assert min(slot for slot, _ in site.held_out) * SLOT_S // DAY_S > last


@pytest.mark.parametrize("name", CROWDING)
def test_a_card_has_as_many_rows_and_people_as_its_file(name, shared_data):
    lines = (shared_data / "sociopatterns" / cards()[name].files[0].name).read_text().splitlines()
    assert len(lines) == cards()[name].rows
    assert len({person for line in lines for person in line.split()[1:3]}) == cards()[name].people


def test_the_other_cards_have_as_many_rows_and_people_as_their_files(shared_data):
    scenes = recorded_scenes(shared_data / "exp34")
    phones = {phone for scene in scenes for phone in (*scene.receivers.tolist(), *scene.transmitters.tolist())}
    assert (sum(map(len, scenes)), len(phones)) == (cards()["exp34"].rows, cards()["exp34"].people)
    assert sum(map(len, recorded_stretches(shared_data / "nist_rpi"))) == cards()["nist-pi"].rows


def louder(part):
    return replace(part, rssi_dbm=part.rssi_dbm + 7)


def sides(data):
    return [site.training for site in data.sites], [site.held_out for site in data.sites]


@pytest.mark.parametrize("changed", SCENES)
def test_what_is_heard_in_a_scene_changes_training_or_what_is_held_out_and_never_both(changed, shared_data):
    scenes = recorded_scenes(shared_data / "exp34")
    training, held_out = sides(loaded("exp34", shared_data))
    turned = [louder(scene) if scene.name == changed else scene for scene in scenes]
    training_after, held_out_after = sides(exp34_sites("exp34", turned))
    learnt_from = changed in {"lunch", "train", "office"}
    assert (training_after != training) == learnt_from
    assert (held_out_after != held_out) == (not learnt_from)


@pytest.mark.parametrize("device", ["A", "B"])
@pytest.mark.parametrize("cm", DISTANCES_CM)
def test_what_a_pi_heard_at_a_distance_changes_at_most_one_side(device, cm, shared_data):
    stretches = recorded_stretches(shared_data / "nist_rpi")
    training, held_out = sides(loaded("nist-pi", shared_data))
    turned = [louder(one) if (one.device, one.distance_m) == (device, cm / 100) else one for one in stretches]
    training_after, held_out_after = sides(nist_sites("nist-pi", turned))
    assert (training_after != training) == (device == "A" and cm % 100 == 50)
    assert (held_out_after != held_out) == (device == "B" and cm % 100 == 0)


def test_no_hour_at_the_pis_is_both_learnt_from_and_held_out(shared_data):
    stretches = recorded_stretches(shared_data / "nist_rpi")
    hours = {
        side: [(s.at_s[0], s.at_s[-1]) for s in stretches if (s.device, s.distance_m % 1) == side]
        for side in (("A", 0.5), ("B", 0.0))
    }
    assert all(a[1] < b[0] or b[1] < a[0] for a in hours["A", 0.5] for b in hours["B", 0.0])


def test_every_node_of_the_pis_has_every_distance_of_its_side(shared_data):
    for site in loaded("nist-pi", shared_data).sites:
        for side in (site.training, site.held_out):
            near = np.mean([seen.near for unit in side for seen in unit])
            assert 0.35 < near < 0.55


def test_all_that_is_held_out_is_judged_and_no_unit_of_it_is_longer_than_the_task_takes(shared_data):
    task = load_task("proximity")
    for site in loaded("exp34", shared_data).sites:
        assert len(task.examples(site.held_out)) == sum(map(len, site.held_out))
    assert max(len(unit) for site in loaded("exp34", shared_data).sites for unit in site.training) == 17


def test_a_name_that_is_none_is_answered_with_those_that_there_are():
    with pytest.raises(BadData, match=r"called 'lyon'.*lyon-school.*nist-pi"):
        card_of("lyon")


@pytest.mark.parametrize("name", COUNTS)
def test_a_set_that_is_not_here_is_an_error_that_names_file_source_and_remedy(name, tmp_path):
    file, address = cards()[name].files[0].name, cards()[name].address
    with pytest.raises(BadData, match=rf"{file} is neither in {tmp_path}.*jaga-sim data fetch {name}.*{address}"):
        load(name, tmp_path)


def test_a_changed_file_is_refused_and_is_read_with_a_warning_if_somebody_says_so(shared_data, tmp_path):
    whole = (shared_data / "sociopatterns" / "primaryschool.csv").read_text()
    (tmp_path / "primaryschool.csv").write_text(whole + "117220\t1558\t1567\t3B\t3B\n")
    with pytest.raises(BadData, match=r"primaryschool\.csv is not as published.*c92d75d.*unverified"):
        load("lyon-school", tmp_path)
    with pytest.warns(UnverifiedData, match=r"primaryschool\.csv is not as published"):
        assert len(load("lyon-school", tmp_path, unverified=True).sites) == 11


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("lyon-school", b"rubbish\n", "1 fields"),
        ("lyon-school", b"60 1 2 3A 3B\n", "1 day"),
        ("exp34", b"rubbish", "no scene"),
        ("nist-pi", b"rubbish", "no column"),
    ],
)
@pytest.mark.filterwarnings("ignore::simulations.datasets.files.UnverifiedData")
def test_an_unverified_file_that_cannot_be_read_is_an_error_that_names_it_and_its_source(
    name, content, named, tmp_path
):
    for file in cards()[name].files:
        (tmp_path / file.name).write_bytes(content)
    with pytest.raises(BadData, match=rf"{name}: .*{cards()[name].files[0].name}.*{named}.*{cards()[name].source}"):
        load(name, tmp_path, unverified=True)
