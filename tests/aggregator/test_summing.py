"""The leader asks until the helper has answered, believes nobody else, and says what to do when nobody answers."""

import threading
import time
from concurrent.futures import Future

import msgspec
import pytest
from draws_double import draw_by

from aggregator import summing
from aggregator.summing import HelperLine, HelperSilent
from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Envelope, wrap
from privacy.boundary.gate import presence
from privacy.boundary.messages import Header, Kind
from privacy.boundary.wire import Delivery
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.draw import SumName, commitment_of
from privacy.secure_sum.exchange import DrawRequest, DrawShare, NodeTerms, Part, SumRefusal, SumRequest, SumShare
from privacy.secure_sum.seeds import Purpose, seal_seed

OURS = CertificateAuthority.create("ours")
LEADER, HELPER, NODE, SECOND = (
    OURS.enrol(party, role)
    for party, role in (
        ("leader", Role.LEADER),
        ("helper", Role.HELPER),
        (node_party(2), Role.NODE),
        ("helper-2", Role.HELPER),
    )
)
RUN = 2**64 - 5
ASKED = b"a" * 32
AT = SumName("ours", RUN, 1, Part.TRAIN)
SEED = seal_seed(NODE, HELPER.certificate, Purpose(AT, ASKED, bytes(32)), NodeTerms(3, 0, 0), b"s" * 32)
REQUEST = SumRequest(1, Part.TRAIN, ASKED, 32, 5, 2, {NODE.party: SEED}, bytes(32))
DRAWING = DrawRequest(1, Part.TRAIN, commitment_of(b"l" * 32), [NODE.party], 3, 3, 60.0)
SHARE = SumShare(bytes(20), bytes(16))


class Wire:
    """A broker with one helper at its other end; `answers` are given one a request, the last one again and again.

    An answer is a function from the request's header to a payload, or None for silence.
    """

    def __init__(self, *answers):
        self.directory = Directory(LEADER)
        self.asked: list[bytes] = []
        self._answers = list(answers)
        self._helper = Directory(HELPER)
        self.introduce(LEADER, self._helper)
        for party in (HELPER, SECOND, NODE):
            self.introduce(party, self.directory)

    def introduce(self, party, directory):
        here = presence(party, bytes(16), online=True, software="jaga")
        directory.receive(here.topic, here.payload)

    def subscribe(self, pattern, handler):
        assert pattern == topics.sum_share("leader")
        self._handler = handler

    def publish(self, topic, payload, *, expires_in_s):
        self.asked.append(bytes(payload))
        header, body = self._helper.receive(topic, payload)
        assert body in (REQUEST, DRAWING)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is not None:
            deliver = Delivery(topics.sum_share("leader"), memoryview(answer(header)), False)
            threading.Thread(target=self._handler, args=(deliver,)).start()
        done: Future[None] = Future()
        done.set_result(None)
        return done


def says(share=SHARE, by=HELPER, to=LEADER, **changes):
    """An answer; `changes` are to its header."""

    def answer(asked):
        now = time.time()
        header = Header(
            Kind.SHARE, "ours", by.party, to.party, asked.run_id, b"a" * 16, asked.message_id, now, now + 60, True
        )
        return bytes(wrap(by, msgspec.structs.replace(header, **changes), share, to.certificate))

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(summing, "ASK_AGAIN_S", 0.1)
    monkeypatch.setattr(summing, "POLL_S", 0.05)


def line(wire, deadline_s=0.6):
    return HelperLine(wire.directory, wire, "helper", lambda: RUN, deadline_s)


def test_an_answer_is_handed_over():
    assert line(Wire(says())).ask(REQUEST) == SHARE


def test_a_refusal_is_an_answer():
    refusal = SumShare(refusal=SumRefusal.TOO_FEW, because_of=[NODE.party])
    assert line(Wire(says(refusal))).ask(REQUEST) == refusal


def test_a_draw_is_handed_over_where_the_helper_signed_it_for_this_very_sum():
    drawn = DrawShare(draw_by(HELPER, AT))
    assert line(Wire(says(drawn))).draw(DRAWING) == drawn
    refused = DrawShare(refusal=SumRefusal.DRAWN)
    assert line(Wire(says(refused))).draw(DRAWING) == refused


@pytest.mark.parametrize(
    ("wrong", "heard"),
    [
        (DrawShare(draw_by(LEADER, AT)), "did not sign this draw"),
        (DrawShare(draw_by(HELPER, SumName("ours", RUN - 1, 1, Part.TRAIN))), "did not sign this draw"),
        (DrawShare(), "it is no draw, and no refusal"),
        (DrawShare(draw_by(HELPER, AT), SumRefusal.DRAWN), "it is no draw, and no refusal"),
        (SHARE, "it is no draw"),
    ],
)
def test_what_is_no_draw_of_the_helper_s_is_waited_over(wrong, heard):
    with pytest.raises(HelperSilent, match=heard):
        line(Wire(says(wrong))).draw(DRAWING)


def test_a_draw_is_no_answer_to_a_request_for_a_sum():
    with pytest.raises(HelperSilent, match="it is no share of a sum"):
        line(Wire(says(DrawShare(refusal=SumRefusal.DRAWN)))).ask(REQUEST)


def test_it_asks_again_the_very_same_while_none_comes():
    wire = Wire(None, None, says())
    assert line(wire).ask(REQUEST) == SHARE
    assert len(wire.asked) == 3
    assert len({Envelope.parse(asked).header.message_id for asked in wire.asked}) == 1


def test_two_questions_are_two_messages():
    wire = Wire(says())
    asking = line(wire)
    assert asking.ask(REQUEST) == asking.ask(REQUEST) == SHARE
    assert len({Envelope.parse(asked).header.message_id for asked in wire.asked}) == 2


def tampered(answer):
    return lambda asked: (payload := answer(asked))[:-1] + bytes([payload[-1] ^ 1])


@pytest.mark.parametrize(
    ("wrong", "heard"),
    [
        (tampered(says()), "wrong signature"),
        (says(by=NODE), "of a kind that its sender's role may not send"),
        (says(to=HELPER), "another kind or party"),
        (says(SumShare(bytes(24), bytes(16))), r"its share has \(24, 16\) bytes, asked for were \(20, 16\)"),
        (says(SumShare(bytes(20), bytes(8))), r"its share has \(20, 8\) bytes"),
        (says(SumShare(bytes(20), bytes(16), SumRefusal.TOO_FEW)), r"asked for were \(0, 0\)"),
        (says(created_at=time.time() + 86400, expires_at=time.time() + 90000), "helper is 24.0 hours ahead"),
        (says(by=SECOND), "from helper-2, not from helper"),
        (says(reply_to=b"x" * 16), "nothing came"),
        (None, "nothing came"),
    ],
)
def test_what_is_no_answer_is_waited_over_and_named_at_the_deadline(wrong, heard):
    with pytest.raises(HelperSilent, match=heard) as silent:
        line(Wire(wrong)).ask(REQUEST)
    assert "jaga-central helper run" in str(silent.value)
    assert "train of round 1" in str(silent.value)
    assert line(Wire(wrong, says())).ask(REQUEST) == SHARE


def test_a_helper_that_nobody_has_heard_of_is_waited_for():
    wire = Wire(says())
    wire.directory = Directory(LEADER)
    threading.Timer(0.3, wire.introduce, (HELPER, wire.directory)).start()
    assert line(wire, 5.0).ask(REQUEST) == SHARE


def test_one_that_never_comes_is_named():
    wire = Wire(says())
    wire.directory = Directory(LEADER)
    with pytest.raises(HelperSilent, match="helper has presented no certificate"):
        line(wire).ask(REQUEST)


def test_a_party_of_the_helper_s_name_and_another_role_is_not_asked():
    wire = Wire(says())
    wire.directory = Directory(LEADER)
    wire.introduce(OURS.enrol("helper", Role.OBSERVER), wire.directory)
    with pytest.raises(HelperSilent, match="for role observer"):
        line(wire).ask(REQUEST)
    assert wire.asked == []
