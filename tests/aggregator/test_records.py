import sqlite3

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_double import first_model
from sqlalchemy import update

from aggregator.records.database import Records, RecordsError, WrongSchema
from aggregator.records.history import History, UnknownRun
from aggregator.records.models import DamagedModel, Models, UnknownModel
from aggregator.records.nodes import NameTaken, Nodes, UnknownNode
from aggregator.records.runs import Asked, Contribution, DamagedRun, Journal, OtherRunFile, RunMoved
from aggregator.records.schema import ModelRow, PartState, Phase, RunState, SchemaRow
from aggregator.records.tensors import BadModel, digest, from_safetensors, to_safetensors
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.exchange import Part

RUN_ID = 2**64 - 5
NODE = 2**63 + 3


def take(records, model, holder="here-1", toml="text", **options) -> Journal:
    return Journal.take(records, RUN_ID, name="test", toml=toml, model=model, holder=holder, **options)


def asked(node_id=NODE, head=b"head") -> list[Asked]:
    return [Asked(node_id, "ab" * 16, head)]


def contribution(**changes) -> Contribution:
    fields = {
        "node_id": NODE,
        "state": PartState.ANSWERED,
        "seconds": 1.5,
        "bytes_down": 10,
        "bytes_up": 5,
        "refusal": None,
        "epsilon": 0.5,
    }
    return Contribution(**{**fields, **changes})


def weights(value: float) -> bytes:
    return to_safetensors(ArrayRecord({"w": Array(np.full(3, value, np.float32))}))


def play(journal: Journal, number: int, value: float) -> None:
    """A whole round that ends with a model of `value`."""
    journal.plan_training(number, journal.round(number).arrays, [NODE], asked())
    journal.finish_training(
        number, model=weights(value), strategy=b"state", metrics={"loss": value}, contributions=[contribution()]
    )
    journal.finish_round(number, Phase.TRAINED)


def test_a_round_goes_through_its_phases_and_keeps_everything(records, model):
    journal = take(records, model)
    assert journal.round(1).phase is None
    assert journal.round(1).arrays == model
    journal.plan_training(1, model, [NODE, 5], asked())
    assert journal.round(1).roster == (NODE, 5)
    assert journal.asked(1, Part.TRAIN) == asked()
    journal.finish_training(
        1, model=weights(1.0), strategy=b"state", metrics={"loss": 2.0}, contributions=[contribution()]
    )
    assert journal.round(1).phase is Phase.TRAINED
    assert journal.strategy_state() == b"state"
    journal.plan_evaluation(1, asked())
    refusal = contribution(state=PartState.REFUSED, refusal="privacy budget spent", epsilon=None)
    journal.finish_round(1, Phase.EVALUATING, {"mse": 3.0}, [refusal])
    journal.finish()
    entry = journal.round(1)
    assert (entry.phase, entry.result) == (Phase.FINISHED, digest(weights(1.0)))
    assert entry.evaluate_metrics == {"mse": 3.0}
    assert journal.round(2).arrays == entry.result
    history = History(records)
    assert history.run("test").state is RunState.FINISHED
    (summary,) = history.rounds(RUN_ID)
    assert [(p.part, p.state, p.refusal) for p in summary.parts] == [
        (Part.TRAIN, PartState.ANSWERED, None),
        (Part.EVALUATE, PartState.REFUSED, "privacy budget spent"),
    ]
    assert journal.contributions(1)[Part.TRAIN] == [contribution()]


def test_what_is_written_is_there_after_a_restart(records, records_url, model):
    play(take(records, model), 1, 1.0)
    again = Records(records_url)
    journal = take(again, model, holder="here-2")
    assert journal.resumed
    assert journal.round(1).phase is Phase.FINISHED
    assert journal.strategy_state() == b"state"
    again.close()


def test_who_lost_the_run_cannot_write_any_more(records, model):
    first = take(records, model, holder="here-1")
    take(records, model, holder="there-2")
    with pytest.raises(RunMoved, match="taken over by there-2"):
        first.plan_training(1, model, [NODE], asked())


def test_a_phase_that_is_not_due_is_refused(records, model):
    journal = take(records, model)
    with pytest.raises(DamagedRun, match=r"is not begun .* should be training"):
        journal.finish_training(1, model=None, strategy=b"", metrics={}, contributions=[])
    journal.plan_training(1, model, [NODE], asked())
    with pytest.raises(DamagedRun, match=r"is training .* should be not begun"):
        journal.plan_training(1, model, [NODE], asked())
    with pytest.raises(DamagedRun, match=r"round 2 .* round 1 is not finished"):
        journal.round(2)


def test_a_phase_is_written_whole_or_not_at_all(records, model):
    journal = take(records, model)
    journal.plan_training(1, model, [NODE], asked())
    with pytest.raises(RecordsError):
        journal.finish_training(
            1, model=weights(1.0), strategy=b"", metrics={}, contributions=[contribution(node_id=999)]
        )
    assert journal.round(1).phase is Phase.TRAINING
    assert [entry.name for entry in Models(records).entries()] == ["zeros"]


def test_a_run_file_that_changed_is_refused(records, model):
    take(records, model)
    with pytest.raises(OtherRunFile, match="another run file: give the changed one another name"):
        take(records, model, toml="other text")


def test_only_the_first_and_the_last_model_stay_unless_all_are_kept(records, model):
    journal = take(records, model)
    for number in range(1, 4):
        play(journal, number, float(number))
    assert {entry.name for entry in Models(records).entries()} == {"zeros", "test/3"}
    assert journal.round(3).result == digest(weights(3.0))


def test_all_models_stay_where_they_are_asked_to(records, model):
    journal = take(records, model, keep_models=True)
    for number in range(1, 4):
        play(journal, number, float(number))
    assert {entry.name for entry in Models(records).entries()} == {"zeros", "test/1", "test/2", "test/3"}


def test_a_round_that_learnt_nothing_ends_with_the_model_it_began_with(records, model):
    journal = take(records, model)
    journal.plan_training(1, model, [NODE], asked())
    journal.finish_training(1, model=None, strategy=b"", metrics={}, contributions=[])
    assert journal.round(1).result == model


def test_tasks_that_expired_are_replaced(records, model):
    journal = take(records, model)
    journal.plan_training(1, model, [NODE], asked())
    renewed = [Asked(NODE, "cd" * 16, b"newer")]
    journal.ask_anew(1, Part.TRAIN, renewed)
    assert journal.asked(1, Part.TRAIN) == renewed


def test_a_model_is_found_by_name_or_hash(records, model):
    models = Models(records)
    assert models.find("zeros").sha256 == model
    assert models.find(model[:12]).sha256 == model
    assert list(models.arrays(model)) == ["w", "b"]
    with pytest.raises(UnknownModel, match="no model 'ones' is registered \\(there are: zeros\\)"):
        models.find("ones")


def test_a_model_that_was_tampered_with_is_refused(records, model):
    with records.session() as session:
        session.execute(update(ModelRow).values(data=weights(9.0)))
    with pytest.raises(DamagedModel, match="is damaged"):
        Models(records).arrays(model)


def test_what_is_no_model_is_not_registered(records):
    with pytest.raises(BadModel, match="no safetensors"):
        Models(records).add("junk", b"junk", {})


def certificate(node_id: int):
    return CertificateAuthority.create("test").enrol(node_party(node_id), Role.NODE).certificate


def test_nodes_are_enrolled_listed_and_revoked(records):
    nodes = Nodes(records)
    issued = certificate(NODE)
    nodes.enrol("Puskesmas Menteng", issued)
    with pytest.raises(NameTaken, match="'Puskesmas Menteng' is enrolled already"):
        nodes.enrol("Puskesmas Menteng", certificate(7))
    assert [(e.node_id, e.party) for e in nodes.entries()] == [(NODE, node_party(NODE))]
    assert nodes.revoked_serials() == frozenset()
    nodes.revoke("Puskesmas Menteng")
    assert nodes.revoked_serials() == {issued.serial}
    nodes.enrol("Puskesmas Menteng", certificate(7))
    with pytest.raises(UnknownNode, match="no node 'nobody'"):
        nodes.revoke("nobody")


def test_a_run_that_never_was_is_named(records):
    with pytest.raises(UnknownRun, match=r"no run 'x' in the records \(there are: none\)"):
        History(records).run("x")


def test_records_of_another_version_are_refused(records, records_url):
    with records.session() as session:
        session.execute(update(SchemaRow).values(version=99))
    with pytest.raises(WrongSchema, match="schema version 99, this Jaga needs 3"):
        Records(records_url)


def test_another_programs_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(WrongSchema, match="another program's database"):
        Records(f"sqlite:///{tmp_path / 'other.db'}")


def test_a_file_that_is_damaged_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "central.db").write_bytes(b"not a database at all, and long enough to be looked at " * 20)
    with pytest.raises(RecordsError, match="restore it from a backup"):
        Records(f"sqlite:///{tmp_path / 'central.db'}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "is no database that can be used"),
        ("oracle://x/y", "is no database that can be used|cannot be used"),
        ("sqlite:////no/such/folder/central.db", "check that the folder exists"),
        ("postgresql://nobody@127.0.0.1:1/none", "check that the database is there and reachable"),
    ],
)
def test_an_address_that_does_not_work_is_explained(url, says):
    with pytest.raises(RecordsError, match=says):
        Records(url)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
        st.lists(st.floats(width=32, allow_nan=False), max_size=5),
        min_size=1,
    )
)
def test_a_model_comes_back_from_safetensors_in_its_own_order(tensors):
    arrays = ArrayRecord({key: Array(np.array(values, np.float32)) for key, values in tensors.items()})
    data = to_safetensors(arrays)
    back = from_safetensors(data)
    assert list(back) == list(arrays)
    assert all(back[key].data == arrays[key].data for key in arrays)
    assert to_safetensors(back) == data


@pytest.mark.parametrize("damage", [lambda d: d[:-4], lambda d: d[:5], lambda d: b"\xff" * 40, lambda d: b""])
def test_a_damaged_model_is_named(damage):
    with pytest.raises(BadModel):
        from_safetensors(damage(to_safetensors(first_model())))
