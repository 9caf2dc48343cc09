"""An app as in Flower's documentation becomes part of a secure sum without knowing it."""

import msgspec
import numpy as np
import pytest
from draws_double import draw_by
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.learning.__main__ import answer
from edge.learning.masking import NOISE_WANTED
from edge.learning.protocol import Masked, Request, Response, TrustedHelper, Workplace, read_frame, write_frame
from privacy.boundary import flower
from privacy.boundary.arrays import arrays_of, pack, unpack
from privacy.boundary.envelope import wrap
from privacy.boundary.messages import Encoding, Header, Kind, Refusal, Reply
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.mechanisms.shared_noise import SharedNoise
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import Draw, NodeTerms, Part
from privacy.secure_sum.fixed_point import FixedPoint
from privacy.secure_sum.seeds import Purpose, seal_seed
from privacy.secure_sum.sums import MaskSum, ShareSum
from privacy.secure_sum.terms import BOUND_RANGE, METRICS, SHARE, TERMS, SumTerms
from privacy.secure_sum.vector import Plan, Vector, mean

RUN = 2**63
PLAN = Plan(bound=4.0, most=10, weight_bound=100.0)
BASE = {"conv.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(3, np.float32)}
OURS = CertificateAuthority.create("ours")
NODE, LEADER, HELPER = (
    OURS.enrol(party, role)
    for party, role in ((node_party(7), Role.NODE), ("leader", Role.LEADER), ("helper", Role.HELPER))
)
TRUSTED = TrustedHelper("helper", "ours", HELPER.certificate.verify_key.public_bytes_raw())
NUMBERS = {"num-examples": 30, "train_loss": 0.25, "accuracy": 0.5}
PACE = Workplace("", b"", 7, "", 1.0, 1e-6, 1.0, 1, {})


def terms(of=Part.TRAIN, **changes):
    draw = draw_by(HELPER, SumName("ours", RUN, 3, of))
    fields = SumTerms(PLAN, "helper", 3, of, 2, "num-examples", draw).fields()
    return ConfigRecord(fields | changes)


def documented_app(change=0.5, metrics=NUMBERS, drop=(), extra=None):
    """As in Flower's quickstart: arrays, metrics, `num-examples`."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, _context: Context) -> Message:
        assert list(msg.content.config_records) == ["config"]
        arrays = {key: a.numpy() + np.float32(change) for key, a in msg.content["arrays"].items() if key not in drop}
        record = ArrayRecord({key: Array(np.asarray(value)) for key, value in reversed(arrays.items())})
        content = RecordDict({"arrays": record, "metrics": MetricRecord(metrics), **(extra or {})})
        return Message(content=content, reply_to=msg)

    @app.evaluate()
    def evaluate(msg: Message, _context: Context) -> Message:
        return Message(content=RecordDict({"metrics": MetricRecord(metrics), **(extra or {})}), reply_to=msg)

    return app


def ask(app, given=None, kind="train", helper=TRUSTED, workplace=PACE):
    """What the trainer answers to a task, and its Flower message with its arrays back."""
    flower.enter_run(RUN, flower.CENTRE)
    records = {"arrays": ArrayRecord({k: Array(v) for k, v in BASE.items()}), "config": ConfigRecord({"lr": 0.1})}
    content = RecordDict(records if given is None else {**records, TERMS: given})
    message = Message(content, dst_node_id=7, message_type=kind)
    flower.set_message_id(message, "00" * 16)
    packed, sizes = pack(arrays_of(message), Encoding.EXACT, {})
    request = Request(memoryview(flower.head_of(message)), sizes, Encoding.INT8, None, helper)
    response, arrays = answer(app, workplace, request, memoryview(packed))
    if response.refusal is not None:
        return response, None
    reply = flower.message_of(response.flower)
    unpack(reply, arrays, response.sizes, Encoding.INT8, arrays_of(message))
    return response, reply


def joined(*answers, base=BASE, scalars=3):
    """The mean that leader and helper find together."""
    size = sum(v.size for v in base.values())
    leader, helper = ShareSum(size, scalars, np.dtype(np.uint32), 10), MaskSum(size, scalars, np.dtype(np.uint32))
    for response, reply in answers:
        share = reply.content[SHARE]
        leader.add(Vector(share["elements"].numpy(), share["scalars"].numpy()))
        helper.add(response.masked.seed)
    names = answers[0][1].content[TERMS][METRICS]
    return mean(PLAN, base, names, leader.joined(helper.elements, helper.scalars))


def test_two_unmodified_apps_give_the_weighted_mean_and_nothing_else():
    first = ask(documented_app(0.5), terms())
    second = ask(documented_app(-1.0, {**NUMBERS, "num-examples": 10.0, "accuracy": 1.0}), terms())
    found = joined(first, second)
    for name, values in BASE.items():
        assert np.allclose(found.arrays[name], values + (30 * 0.5 - 10 * 1.0) / 40, atol=1e-6)
    assert found.weight == pytest.approx(40)
    assert found.metrics == pytest.approx({"train_loss": 0.25, "accuracy": (30 * 0.5 + 10) / 40})


def test_no_number_is_in_the_clear():
    response, reply = ask(documented_app(), terms())
    assert set(reply.content) == {SHARE, TERMS}
    assert dict(reply.content[TERMS]) == {METRICS: ["accuracy", "train_loss"]}
    assert {array.dtype for array in reply.content[SHARE].values()} == {"uint32", "uint64"}
    assert response.masked.seed not in bytes(response.flower)
    assert (response.masked.helper, response.masked.round_number, response.masked.part) == ("helper", 3, Part.TRAIN)


def test_what_is_neither_update_nor_metric_stays_inside():
    response, reply = ask(documented_app(extra={"note": ConfigRecord({"text": "of a person"})}), terms())
    assert set(reply.content) == {SHARE, TERMS}
    assert b"of a person" not in bytes(response.flower)


def test_a_share_says_nothing_without_its_seed():
    """The same update twice: every element differs, and neither is near what it hides."""
    (_, one), (_, other) = (ask(documented_app(), terms()) for _ in range(2))
    for name in ("elements", "scalars"):
        assert not np.any(one.content[SHARE][name].numpy() == other.content[SHARE][name].numpy())


def test_an_evaluation_is_its_metrics_alone():
    answers = [ask(documented_app(), terms(Part.EVALUATE), "evaluate") for _ in range(2)]
    assert answers[0][1].content[SHARE]["elements"].numpy().size == 0
    found = joined(*answers, base={})
    assert found.metrics == pytest.approx({"train_loss": 0.25, "accuracy": 0.5})


def test_a_weight_alone_is_enough():
    _, reply = ask(documented_app(metrics={"num-examples": 1}), terms())
    assert list(reply.content[TERMS][METRICS]) == []


def test_a_task_without_terms_is_answered_as_ever():
    response, reply = ask(documented_app())
    assert response.masked is None
    assert set(reply.content) == {"arrays", "metrics"}


@pytest.mark.parametrize(
    ("app", "detail"),
    [
        (documented_app(np.nan), "not finite"),
        (documented_app(np.inf), "not finite"),
        (documented_app(drop=("bias",)), "do not go with the round's"),
        (documented_app(metrics={**NUMBERS, "train_loss": float("nan")}), "not finite"),
        (documented_app(metrics={**NUMBERS, "num-examples": float("inf")}), "not finite"),
        (documented_app(metrics={**NUMBERS, "num-examples": -1}), "weight -1"),
        (documented_app(metrics={**NUMBERS, "per-class": [0.1, 0.2]}), "per-class"),
        (documented_app(metrics={"train_loss": 1.0}), "no metric 'num-examples' to weigh it by"),
        (documented_app(extra={"more": ArrayRecord({"x": Array(np.zeros(1))})}), "2 array records"),
    ],
)
def test_what_no_sum_can_hold_is_refused_in_fixed_words(app, detail):
    response, _ = ask(app, terms())
    assert response.refusal is Refusal.NOT_SUMMABLE
    assert detail in response.detail
    assert response.masked is None


def test_arrays_in_an_evaluation_are_refused():
    app = documented_app(extra={"arrays": ArrayRecord({"x": Array(np.zeros(1))})})
    assert ask(app, terms(Part.EVALUATE), "evaluate")[0].refusal is Refusal.NOT_SUMMABLE


@pytest.mark.parametrize("wrong", [{"bits": 24}, {"bound": -1.0}, {"round": 0}, {"part": "evaluate"}, {"most": "many"}])
def test_terms_that_no_honest_leader_sends_are_refused_before_the_app_runs(wrong):
    response, _ = ask(documented_app(np.nan), terms(**wrong))
    assert response.refusal is Refusal.BAD_TASK


@pytest.mark.parametrize("helper", [None, msgspec.structs.replace(TRUSTED, party="another")], ids=["none", "another"])
def test_without_a_trusted_helper_the_app_does_not_run(helper):
    assert ask(documented_app(np.nan), terms(), helper=helper)[0].refusal is Refusal.NO_HELPER


def test_a_node_that_insists_on_a_secure_sum_refuses_a_task_without_terms():
    strict = msgspec.structs.replace(PACE, only_masked=True)
    assert ask(documented_app(np.nan), workplace=strict)[0].refusal is Refusal.UNMASKED
    assert ask(documented_app(), terms(), workplace=strict)[0].masked is not None


def test_an_app_s_own_error_is_a_failed_training_as_ever():
    app = ClientApp()

    @app.train()
    def train(_msg: Message, _context: Context) -> Message:
        raise RuntimeError("identifier")

    assert ask(app, terms())[0].refusal is Refusal.TRAINING_FAILED


def test_each_run_of_the_app_draws_a_seed_of_its_own():
    seeds = {ask(documented_app(), terms())[0].masked.seed for _ in range(4)}
    assert len(seeds) == 4


def test_a_seed_crosses_the_pipe_and_stays_out_of_logs(tmp_path):
    share = Masked("helper", 1, Part.TRAIN, b"a" * 32, b"d" * 32, NodeTerms(3, 0, 0), b"secret seed" * 3)
    with (tmp_path / "pipe").open("wb") as stream:
        write_frame(stream, Response(masked=share))
    with (tmp_path / "pipe").open("rb") as stream:
        assert read_frame(stream, Response)[0].masked.seed == share.seed
    assert "secret" not in repr(Response(masked=share))


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_what_crosses_the_wire_is_the_ring_s_width_and_two_kilobytes(bits, monkeypatch):
    parameters = 1_000_000
    monkeypatch.setitem(BASE, "conv.weight", np.zeros((parameters - 3, 1), np.float32))
    response, reply = ask(documented_app(), terms(bits=bits))
    assert reply.content[SHARE]["elements"].dtype == f"uint{bits}"
    packed, sizes = pack(arrays_of(reply), Encoding.EXACT, {})
    seed = seal_seed(
        NODE,
        HELPER.certificate,
        Purpose(SumName("ours", RUN, 3, Part.TRAIN), response.masked.assignment, response.masked.draw),
        response.masked.said,
        response.masked.seed,
    )
    body = Reply(response.flower, memoryview(packed), sizes, Encoding.EXACT, None, seed)
    header = Header(Kind.REPLY, "ours", NODE.party, "leader", 1, b"m" * 16, b"t" * 16, 0.0, 1.0, True)
    crossing = len(wrap(NODE, header, body, LEADER.certificate))
    assert crossing - 2000 < bits // 8 * parameters * 1.02
    assert crossing - bits // 8 * parameters < 3500  # what is left beside the elements: headers, seal, seed, signature


def test_a_node_says_the_cohort_and_noise_that_it_really_added_and_its_group():
    noisy = msgspec.structs.replace(PACE, min_cohort=3)
    assert ask(documented_app(), terms(), workplace=noisy)[0].masked.said == NodeTerms(3, 0, 2)
    noise = SharedNoise(2.0, 0.5, 3)

    app = ClientApp()

    @app.train()
    def train(msg: Message, _context: Context) -> Message:
        NOISE_WANTED.set(noise)
        return documented_app()(msg, _context)

    response, reply = ask(app, terms(), workplace=noisy)
    assert response.masked.said == NodeTerms(3, noise.sigma(PLAN.code), 2)
    assert dict(reply.content[TERMS]) == {METRICS: ["accuracy", "train_loss"]}


def test_a_node_that_counts_on_more_nodes_than_the_helper_is_refused_before_its_app_runs():
    eleven = msgspec.structs.replace(PACE, min_cohort=11)
    assert ask(documented_app(np.nan), terms(most=20), workplace=eleven)[0].refusal is Refusal.SMALL_COHORT


def draws(**changes):
    given = {"helper": HELPER, "run": RUN, "number": 3, "part": Part.TRAIN, "federation": "ours"} | changes
    more = {name: given[name] for name in ("min_cohort", "lives_s") if name in given}
    at = SumName(given["federation"], given["run"], given["number"], given["part"])
    return msgspec.msgpack.encode(draw_by(given["helper"], at, **more))


@pytest.mark.parametrize(
    "change",
    [
        {"helper": LEADER},
        {"run": RUN + 1},
        {"number": 2},
        {"part": Part.EVALUATE},
        {"federation": "theirs"},
        {"lives_s": -1.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_draw_that_the_helper_did_not_make_for_this_sum_costs_nothing(change):
    assert ask(documented_app(np.nan), terms(draw=draws(**change)))[0].refusal is Refusal.BAD_TASK
    assert ask(documented_app(), terms(draw=draws()))[0].masked is not None


def test_a_leader_cannot_raise_the_cohort_that_the_helper_signed():
    draw = msgspec.msgpack.decode(draws(), type=Draw)
    forged = msgspec.msgpack.encode(msgspec.structs.replace(draw, min_cohort=11))
    eleven = msgspec.structs.replace(PACE, min_cohort=11)
    assert ask(documented_app(np.nan), terms(draw=forged, most=20), workplace=eleven)[0].refusal is Refusal.BAD_TASK


@pytest.mark.parametrize(
    "odd",
    [
        {"bound": 1e-320},
        {"bound": 1e7},
        {"bound": float("nan")},
        {"bound": True},
        {"bound": "4.0"},
        {"most": 2**40, "bits": 64},
        {"most": 1},
        {"most": 9.5},
        {"bits": 24},
        {"weight-bound": 1e-308},
        {"weight-bound": 1e30},
        {"weight-bound": float("inf")},
        {"metric-bound": 1e-300},
        {"metric-bound": 1e300},
        {"weighted-by": "accuracy"},
        {"weighted-by": "train_loss"},
        {"round": 2**31},
        {"group": -1},
        {"group": 10**6},
        {"draw": b"no draw"},
        {"note": "more than the terms"},
    ],
    ids=str,
)
def test_odd_terms_are_refused_before_a_record_is_read(odd):
    read = []
    app = ClientApp()

    @app.train()
    def train(msg: Message, _context: Context) -> Message:
        read.append(msg)
        return documented_app()(msg, _context)

    assert ask(app, terms(**odd))[0].refusal is Refusal.BAD_TASK
    assert read == []


@given(value=st.floats(allow_nan=False, allow_infinity=False), bound=st.sampled_from(BOUND_RANGE))
@settings(deadline=None, max_examples=60)
def test_whether_an_update_can_be_coded_does_not_depend_on_its_size(value, bound):
    for bits in (16, 32, 64):
        assert len(FixedPoint(bound, bits, 3).encode(np.array([value, -value])).elements) == 2
