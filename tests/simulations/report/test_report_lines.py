"""Which runs are one line, and which lines share a frame."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulations.report.lines import ALL, MOST_LINES, Spread, differing, lines, panels, telling
from simulations.report.runs import EPSILON, Run, Setting

SETTINGS = st.fixed_dictionaries(
    {
        EPSILON: st.sampled_from([1.0, 4.0, 8.0]),
        "strategy.name": st.sampled_from(["FedAvg", "FedMedian"]),
        "attackers.share": st.sampled_from([0.0, 0.1, 0.2, 0.3]),
        "experiment.name": st.sampled_from(["one", "two"]),
    }
)


def run(settings: dict[str, Setting], seed: int = 1, swept: tuple[str, ...] = (EPSILON,)) -> Run:
    folder = f"{sorted(settings.items())}-{seed}"
    name = str(settings.get("experiment.name"))
    return Run(folder, name, seed, settings, swept, {}, {}, "done", 0, {"error": np.array([1.0])})


@given(st.lists(st.tuples(SETTINGS, st.integers(1, 3)), min_size=1, max_size=40), st.sampled_from([None, EPSILON]))
def test_every_run_is_in_one_line_with_those_that_differ_in_the_seed_and_along_the_axis_alone(chosen, axis):
    runs = [run(settings, seed) for settings, seed in chosen]
    drawn = lines(runs, axis)
    assert Counter(id(one) for line in drawn for one in line.runs) == Counter(map(id, runs))
    for line in drawn:
        rest = {tuple(value for key, value in sorted(one.settings.items()) if key != axis) for one in line.runs}
        assert len(rest) == 1


@given(st.lists(SETTINGS, min_size=1, max_size=60))
def test_a_frame_has_no_more_lines_than_can_be_told_apart_and_none_is_lost(chosen):
    drawn = lines([run(settings) for settings in chosen])
    frames = panels(drawn)
    assert [line for frame in frames for line in frame.lines if line not in drawn] == []
    assert sum(len(frame.lines) for frame in frames) == len(drawn)
    for frame in frames:
        assert len(frame.lines) <= MOST_LINES
        assert len(set(frame.labels())) == len(frame.lines)


def test_runs_that_differ_in_a_setting_that_no_sweep_names_are_two_lines():
    runs = [run({EPSILON: 1.0, "train.learning-rate": rate}) for rate in (0.1, 0.2)]
    assert [line.label() for line in lines(runs, EPSILON)] == ["learning rate 0.1", "learning rate 0.2"]


def test_what_follows_from_another_setting_is_not_told():
    runs = [
        run({"experiment.name": name, "data.source": name, "data.folder": f"/{name}", EPSILON: epsilon})
        for name in ("school", "ward")
        for epsilon in (1.0, 4.0)
    ]
    assert telling(runs, EPSILON) == ("data.source",)
    assert set(differing(runs)) == {"experiment.name", "data.source", "data.folder", EPSILON}


def test_one_and_true_are_two_values():
    assert differing([run({"strategy.options.x": 1}), run({"strategy.options.x": True})]) == ("strategy.options.x",)


def test_a_line_alone_needs_no_name():
    assert [line.label() for line in lines([run({EPSILON: 1.0}, seed) for seed in (1, 2)])] == [ALL]


def test_a_spread_leaves_out_what_is_no_number():
    assert Spread.of([1.0, float("nan"), 3.0]) == Spread(2.0, 1.0, 3.0, 2)
    assert Spread.of([float("nan")]) is None
