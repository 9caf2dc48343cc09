"""A real node's part in a secure sum, with everything that goes wrong in the field: a seed never covers two vectors."""

import os
import secrets
import signal

import numpy as np
import pytest
from centre_double import RUN
from draws_double import draw_by
from waiting import wait_until

from privacy.boundary.arrays import arrays_of, unpack
from privacy.boundary.assignment import assignment_of
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.flower import message_of
from privacy.boundary.gate import presence
from privacy.boundary.messages import Refusal
from privacy.boundary.wire import Connection
from privacy.identity.authority import Identity
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import Part
from privacy.secure_sum.mask import add_mask
from privacy.secure_sum.seeds import Purpose, open_seed
from privacy.secure_sum.sums import ELEMENTS_LANE, SCALARS_LANE
from privacy.secure_sum.terms import SHARE, TERMS, SumTerms
from privacy.secure_sum.vector import Plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

PAYING = '[learning]\napp = "waiting_app:paying"\nlinger_s = 30\n[learning.node_config]\nfolder = "FOLDER"\n'
PLAN = Plan(bound=4.0, most=10)


def terms_by(helper, name="helper", part=Part.TRAIN, **draws) -> SumTerms:
    """The terms of round 1, with a draw that the helper signed."""
    draw = draw_by(helper, SumName("test federation", RUN, 1, part), **draws)
    return SumTerms(PLAN, name, 1, part, 0, "num-examples", draw)


def runs_of(node) -> int:
    file = node.folder / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def present_helper(federation) -> Identity:
    """The helper's presence, retained, and nobody behind it."""
    credentials = federation.folder / "helper" / "credentials"
    identity = Identity.load(credentials)
    connection = Connection(
        BrokerUrl.parse(federation.broker.url), f"helper-{secrets.token_hex(8)}", tls=tls_context(credentials)
    )
    connection.start()
    here = presence(identity, bytes(16), online=True, software="test")
    connection.publish(here.topic, here.payload, retain=True).result(20)
    connection.stop()
    return identity


@pytest.fixture
def helper(federation) -> Identity:
    federation.start_broker()
    return present_helper(federation)


@pytest.fixture
def node(federation, helper):
    """A started node whose app pays, and can be made to wait; the helper has presented itself."""
    node = federation.node(PAYING).start()
    federation.centre.wait_online(node.party)
    return node


def shares(federation, header, reply, helper) -> tuple[bytes, dict[str, np.ndarray]]:
    """The seed, as the helper opens it, and the masked vectors."""
    centre = federation.centre
    message = message_of(reply.flower)
    assert set(message.content) == {SHARE, TERMS}
    unpack(message, reply.arrays, reply.sizes, reply.encoding, {})
    party = header.recipient
    task = centre.sent[header.message_id]
    at = SumName("test federation", header.run_id, 1, Part.TRAIN)
    purpose = Purpose(at, assignment_of(task), SumTerms.of(task.content[TERMS]).draw.nonce)
    seed = open_seed(helper.keys, centre.directory.certificate(party), purpose, reply.seed)
    return seed, {key: array.numpy() for (_, key), array in arrays_of(message).items()}


def ask(federation, node, terms):
    header, payload = federation.centre.task(node.party, terms=terms)
    federation.centre.send(node.party, payload)
    return header, federation.centre.reply_to(header)


def test_what_leaves_is_a_masked_share_and_the_seed_that_uncovers_it(federation, node, helper):
    header, reply = ask(federation, node, terms_by(helper))
    seed, masked = shares(federation, header, reply, helper)
    assert np.ptp(PLAN.code.decode(masked["elements"])) > 0.1  # the app added 1 to each: uncovered, they are all alike
    add_mask(seed, masked["elements"], ELEMENTS_LANE)
    add_mask(seed, masked["scalars"], SCALARS_LANE)
    assert np.allclose(PLAN.code.decode(masked["elements"]), 1.0, atol=1e-8)
    assert PLAN.weight_code.decode(masked["scalars"][:1]) == pytest.approx(1.0)
    assert node.audit().rows()[0].note.startswith("masked share of a sum")
    assert seed.hex() not in node.log()
    assert seed not in b"".join(file.read_bytes() for file in node.folder.rglob("*") if file.is_file())


def test_a_message_that_comes_twice_is_answered_with_the_same_bytes(federation, node, helper):
    centre = federation.centre
    header, payload = centre.task(node.party, terms=terms_by(helper))
    for _ in range(2):
        centre.send(node.party, payload)
    centre.reply_to(header)
    centre.send(node.party, payload)
    first, second = centre.payloads_to(header, 2)
    assert first == second
    assert runs_of(node) == 1


def test_a_node_killed_after_its_answer_sends_it_again_as_it_was(federation, node, helper):
    centre = federation.centre
    header, payload = centre.task(node.party, terms=terms_by(helper))
    centre.send(node.party, payload)
    centre.reply_to(header)
    node.kill()
    node.start()
    centre.wait_online(node.party)
    centre.send(node.party, payload)
    first, second = centre.payloads_to(header, 2)
    assert first == second
    assert runs_of(node) == 1


def test_a_node_killed_in_training_answers_after_its_restart(federation, node, helper):
    centre = federation.centre
    (node.folder / "wait").touch()
    header, payload = centre.task(node.party, terms=terms_by(helper))
    centre.send(node.party, payload)
    wait_until(lambda: runs_of(node) == 1)
    trainer = node.children()["edge.learning"]
    node.kill()
    os.kill(trainer, signal.SIGKILL)
    (node.folder / "wait").unlink()
    node.start()
    shares(federation, header, centre.reply_to(header), helper)
    assert runs_of(node) == 2


def test_a_round_asked_anew_has_a_seed_of_its_own(federation, node, helper):
    """The first trainer dies; the second and third task are for the same round, as after a leader's restart."""
    centre = federation.centre
    (node.folder / "wait").touch()
    header, payload = centre.task(node.party, terms=terms_by(helper))
    centre.send(node.party, payload)
    wait_until(lambda: runs_of(node) == 1)
    os.kill(node.children()["edge.learning"], signal.SIGKILL)
    assert centre.reply_to(header).refusal is Refusal.TRAINING_FAILED
    (node.folder / "wait").unlink()
    (one, first), (other, second) = (
        shares(federation, header, reply, helper)
        for header, reply in (ask(federation, node, terms_by(helper)) for _ in range(2))
    )
    assert one != other
    assert not np.any(first["elements"] == second["elements"])


def test_a_task_waits_for_the_helper_s_presence(federation):
    federation.start_broker()
    helper = Identity.load(federation.folder / "helper" / "credentials")
    node = federation.node(PAYING).start()
    federation.centre.wait_online(node.party)
    header, payload = federation.centre.task(node.party, terms=terms_by(helper))
    federation.centre.send(node.party, payload)
    wait_until(lambda: "edge.learning" in node.children())
    present_helper(federation)
    shares(federation, header, federation.centre.reply_to(header), helper)
    assert runs_of(node) == 1


def test_a_helper_of_the_leader_s_making_gets_nothing_and_nothing_is_spent(federation, helper):
    other = federation.authority.enrol("helper", helper.certificate.role).keys.sealing_public.fingerprint
    node = federation.node(PAYING + f'[privacy]\nhelper_key = "{other}"\n').start()
    federation.centre.wait_online(node.party)
    assert ask(federation, node, terms_by(helper))[1].refusal is Refusal.NO_HELPER
    assert runs_of(node) == 0
    assert node.ledger().entries() == []
    assert "ask the helper's own organisation" in node.log()


def test_a_node_that_insists_refuses_a_plain_task_and_spends_nothing(federation, helper):
    node = federation.node(PAYING + '[privacy]\nsecure_sum = "required"\n').start()
    federation.centre.wait_online(node.party)
    assert ask(federation, node, terms=None)[1].refusal is Refusal.UNMASKED
    assert runs_of(node) == 0
    assert node.ledger().entries() == []
    header, reply = ask(federation, node, terms_by(helper))
    shares(federation, header, reply, helper)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"name": "leader"}, Refusal.BAD_TASK),
        ({"part": Part.EVALUATE}, Refusal.BAD_TASK),
        ({"min_cohort": 2}, Refusal.SMALL_COHORT),
        ({"lives_s": -1.0}, Refusal.BAD_TASK),
    ],
    ids=["a helper that is none", "another part than the task's", "a helper of smaller sums", "a round that is over"],
)
def test_terms_that_no_honest_leader_sends_cost_nothing(federation, node, helper, change, refusal):
    assert ask(federation, node, terms_by(helper, **change))[1].refusal is refusal
    assert runs_of(node) == 0
    assert node.ledger().entries() == []


def test_a_draw_of_the_leader_s_own_making_costs_nothing(federation, node, helper):
    leader = Identity.load(federation.folder / "leader")
    assert ask(federation, node, terms_by(leader))[1].refusal is Refusal.BAD_TASK
    assert runs_of(node) == 0
    assert node.ledger().entries() == []


def test_a_node_whose_owner_named_no_helper_takes_no_part_and_says_what_to_do(federation, helper):
    node = federation.node(PAYING).start
    folder = federation.nodes[-1].folder / "node.toml"
    folder.write_text(folder.read_text().replace('secure_sum = "allowed"\nhelper_key = "any"\n', ""))
    started = node()
    federation.centre.wait_online(started.party)
    assert ask(federation, started, terms_by(helper))[1].refusal is Refusal.NO_HELPER
    assert ask(federation, started, None)[1].refusal is Refusal.UNMASKED
    assert runs_of(started) == 0
    assert "privacy.helper_key is not set" in started.log()
