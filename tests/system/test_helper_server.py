"""The helper over a real broker: what it answers a leader, whom it believes, and what a restart changes."""

import secrets
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from draws_double import LeaderDouble
from small_federation import SOON_S, SmallFederation
from waiting import wait_until

from aggregator.helper import service
from aggregator.helper.anchor import HelperRolledBack
from aggregator.helper.config import HelperConfig
from aggregator.helper.records import HelperRecords
from aggregator.helper.service import HelperServer
from aggregator.summing import HelperLine, HelperSilent
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.envelope import Reason, wrap
from privacy.boundary.gate import presence
from privacy.boundary.messages import Header, Kind
from privacy.boundary.wire import Connection
from privacy.identity.authority import Identity, request
from privacy.identity.certificates import Role, node_party
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.exchange import Part, SumRefusal, SumRequest
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import key_digest
from privacy.secure_sum.sums import MaskSum
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

RUN_ID = 2**63 + 7
ELEMENTS, SCALARS = 1000, 3


class Summed:
    """A federation of a leader, a helper, and nodes that have presented themselves and do nothing else."""

    def __init__(self, federation: SmallFederation, nodes: int = 4) -> None:
        self.federation = federation
        self.helper = federation.authority.enrol("helper", Role.HELPER)
        self.helper.save(federation.folder / "helper")
        self.records = HelperRecords(f"sqlite:///{federation.folder / 'helper.db'}")
        self.nodes = [self.join(n) for n in range(2, 2 + nodes)]
        self.leader = LeaderDouble(
            lambda asked: self.helper_line().draw(asked),
            self.helper,
            "small",
            RUN_ID,
            elements=ELEMENTS,
            scalars=SCALARS,
        )
        self.server: HelperServer | None = None
        self.line: HelperLine | None = None

    def join(self, number: int, lifetime: timedelta = timedelta(days=1), *, approved: bool = True) -> Identity:
        """An approved node, which presents itself."""
        party, keys, authority = node_party(number), PrivateKeys.generate(), self.federation.authority
        pem = authority.sign(request(keys), party=party, role=Role.NODE, lifetime=lifetime)
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        node = Identity(keys, authority.anchor.verify(der), authority.anchor)
        node.save(self.federation.folder / party)
        if approved:
            self.records.approve(party, time.time(), key_digest(node.certificate))
        self.present(node)
        return node

    def present(self, node: Identity) -> None:
        here = presence(node, bytes(16), online=True, software="test")
        self.publish(node.party, here.topic, here.payload)

    def publish(self, party: str, topic: str, payload: bytes) -> None:
        """As that party, retained where it is a presence: the broker's rules hold."""
        url, tls = BrokerUrl.parse(self.federation.url), tls_context(self.federation.folder / party)
        connection = Connection(url, f"{party}-{secrets.token_hex(8)}", tls=tls)
        connection.start()
        connection.publish(topic, payload, retain="presence" in topic).result(SOON_S)
        connection.stop()

    def start(self) -> HelperServer:
        config = HelperConfig(
            broker=self.federation.url,
            credentials=self.federation.folder / "helper",
            records="",
            anchor=self.federation.folder / "helper.anchor",
            min_cohort=3,
        )
        self.server = HelperServer(config, self.helper, self.records)
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        return self.server

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self._thread.join(SOON_S)

    def request(self, nodes, round_number: int = 1, **changes) -> SumRequest:
        """A request for the sum over these nodes, after a draw over all approved ones unless there was one."""
        if (round_number, Part.TRAIN) not in self.leader.draws:
            assert self.leader.draw(self.nodes, round_number).refusal is None
        return self.leader.request(nodes, round_number, **changes)

    def helper_line(self, deadline_s: float = SOON_S) -> HelperLine:
        if self.line is None:
            self.line = self.federation.grid(RUN_ID).helper_line("helper", deadline_s)
        return self.line

    def ask(self, asked: SumRequest):
        return self.helper_line().ask(asked)

    def refused(self, asked: SumRequest):
        share = self.ask(asked)
        return share.refusal, share.because_of

    def expected(self, nodes, round_number: int = 1) -> MaskSum:
        total = MaskSum(ELEMENTS, SCALARS, np.dtype(np.uint32))
        for node in nodes:
            total.add(self.leader.seeds[node.party, round_number, Part.TRAIN])
        return total


@pytest.fixture
def summed(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "SETTLE_S", 0.0)
    federation = SmallFederation(tmp_path)
    made = Summed(federation)
    try:
        yield made
    finally:
        made.stop()
        made.records.close()
        federation.close()


def test_a_group_gets_its_sum_and_the_same_again_after_a_restart(summed):
    summed.start()
    asked = summed.request(summed.nodes)
    share, total = summed.ask(asked), summed.expected(summed.nodes)
    assert (share.elements, share.scalars) == (total.elements.tobytes(), total.scalars.tobytes())
    assert summed.ask(asked) == share
    summed.stop()
    summed.start()
    assert summed.ask(asked) == share


def test_a_leader_gets_nothing_by_which_it_could_single_a_node_out(summed):
    summed.start()
    nodes = summed.nodes
    assert summed.refused(summed.request(nodes[:1]))[0] is SumRefusal.TOO_FEW
    assert summed.refused(summed.request(nodes[:2]))[0] is SumRefusal.TOO_FEW
    assert summed.ask(summed.request(nodes)).refusal is None
    assert summed.refused(summed.request(nodes[1:])) == (SumRefusal.COUNTED, [n.party for n in nodes[1:]])
    fresh = {nodes[0].party: summed.leader.sealed(nodes[0], seed=new_seed())}
    assert summed.refused(summed.request(nodes, **fresh))[0] is SumRefusal.COUNTED
    summed.request(nodes, 2)
    reused = summed.leader.sealed(nodes[0], 2, seed=summed.leader.seeds[nodes[0].party, 1, Part.TRAIN])
    assert summed.refused(summed.request(nodes, 2, **{nodes[0].party: reused})) == (
        SumRefusal.SEED_USED,
        [nodes[0].party],
    )
    assert summed.ask(summed.request(nodes, 2)).refusal is None


def test_a_node_with_a_revoked_certificate_is_not_counted(summed):
    summed.records.revoke([summed.nodes[0].certificate.serial], time.time())
    summed.start()
    assert summed.refused(summed.request(summed.nodes)) == (SumRefusal.UNKNOWN, [summed.nodes[0].party])
    assert summed.ask(summed.request(summed.nodes[1:])).refusal is None


def test_a_node_whose_certificate_has_expired_is_not_counted(summed):
    brief = summed.join(99, lifetime=timedelta(seconds=6))
    summed.nodes.append(brief)
    server = summed.start()
    wait_until(lambda: brief.party in server._directory)
    wait_until(lambda: datetime.now(UTC) > brief.certificate.not_after)
    assert summed.refused(summed.request(summed.nodes)) == (SumRefusal.UNKNOWN, [brief.party])


def test_a_node_with_other_keys_under_an_approved_name_is_not_counted(summed):
    """The authority may be the leader's: it could certify keys of its own under the names of approved nodes."""
    summed.start()
    assert summed.ask(summed.request(summed.nodes)).refusal is None
    time.sleep(1.1)  # certificates say seconds, and of two the newer one counts
    forged = summed.join(2, approved=False)
    summed.request(summed.nodes, 2)
    wait_until(lambda: summed.server._directory.certificate(forged.party) == forged.certificate)
    asked = summed.request(summed.nodes[1:], 2, **{forged.party: summed.leader.sealed(forged, 2)})
    assert summed.refused(asked) == (SumRefusal.OTHER_KEY, [forged.party])


def test_a_node_that_has_yet_to_present_itself_is_waited_for(summed, monkeypatch):
    monkeypatch.setattr(service, "SETTLE_S", 60.0)
    monkeypatch.setattr("aggregator.summing.ASK_AGAIN_S", 0.5)
    late, topic = summed.nodes[0], topics.presence(summed.nodes[0].party)
    summed.publish(late.party, topic, b"")
    summed.start()
    asked = summed.request(summed.nodes)
    threading.Timer(2.0, summed.present, (late,)).start()
    assert summed.ask(asked).refusal is None


def test_a_draw_is_given_once_and_the_same_again_after_a_restart(summed):
    summed.start()
    first = summed.leader.draw(summed.nodes).draw
    assert summed.leader.draw(summed.nodes).refusal is SumRefusal.DRAWN
    summed.stop()
    summed.start()
    secret = summed.leader.secrets[1, Part.TRAIN]
    assert summed.leader.draw(summed.nodes, secret=secret).draw == first


def test_a_helper_whose_database_was_put_back_does_not_start(summed):
    backup = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(summed.federation.folder / "helper.db")) as there:
        there.backup(backup)
    summed.start()
    assert summed.ask(summed.request(summed.nodes)).refusal is None
    summed.stop()
    summed.records.close()
    for file in summed.federation.folder.glob("helper.db*"):
        file.unlink()
    with closing(sqlite3.connect(summed.federation.folder / "helper.db")) as here:
        backup.backup(here)
    summed.records = HelperRecords(f"sqlite:///{summed.federation.folder / 'helper.db'}")
    with pytest.raises(HelperRolledBack, match="are an old copy"):
        summed.start()
    summed.server = None


@pytest.mark.parametrize("off_s", [86400.0, -86400.0])
def test_a_request_of_a_leader_whose_clock_is_off_by_a_day_is_turned_away(summed, off_s):
    server = summed.start()
    summed.present(summed.federation.leader)
    wait_until(lambda: "leader" in server._directory)
    at = time.time() + off_s
    header = Header(Kind.SUM, "small", "leader", "helper", RUN_ID, b"m" * 16, None, at, at + 60, True)
    asked = summed.leader.request(summed.nodes)
    payload = wrap(summed.federation.leader, header, asked, summed.helper.certificate)
    summed.publish("leader", topics.sum_request("helper"), bytes(payload))
    wait_until(lambda: server.turned_away[Reason.EXPIRED] == 1)


def test_a_silent_helper_is_named_with_what_to_do(summed):
    with pytest.raises(HelperSilent, match=r"has presented no certificate.*jaga-central helper run"):
        summed.helper_line(1.5).ask(summed.leader.request(summed.nodes))


def test_a_helper_that_starts_late_is_asked_then(summed):
    threading.Timer(1.5, summed.start).start()
    assert summed.ask(summed.request(summed.nodes)).refusal is None
