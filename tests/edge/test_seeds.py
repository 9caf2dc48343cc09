"""A node seals its seeds to a valid helper alone, and to the keys that its owner insists on."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.config import BadConfig, NodeConfig
from edge.learning.protocol import Masked
from edge.seeds import ANY_HELPER, NoHelper, SeedSealer
from privacy.boundary.directory import Directory
from privacy.boundary.gate import presence
from privacy.boundary.messages import Header, Kind
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import Role, node_party
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import NodeTerms, Part
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed

OURS = CertificateAuthority.create("ours")
NODE, LEADER, HELPER = (
    OURS.enrol(party, role)
    for party, role in ((node_party(2), Role.NODE), ("leader", Role.LEADER), ("helper", Role.HELPER))
)
KEY = HELPER.keys.sealing_public.fingerprint
RUN = 2**64 - 7
ASKED, DRAW, SAID = b"a" * 32, b"d" * 32, NodeTerms(3, 40, 1)
TASK = Header(Kind.TASK, "ours", "leader", NODE.party, RUN, b"t" * 16, None, 0.0, 2e9, True)


def present(known, party, *, online=True):
    here = presence(party, bytes(16), online=online, software="jaga")
    known.receive(here.topic, here.payload)


def sealer(*parties, key=ANY_HELPER, patience_s=0.0):
    """Of a node to which these have presented themselves."""
    known = Directory(NODE)
    for party in parties:
        present(known, party)
    return SeedSealer(NODE, known, key, patience_s=patience_s)


def masked(**changes):
    return Masked(
        **(
            {
                "helper": "helper",
                "round_number": 3,
                "part": Part.TRAIN,
                "assignment": ASKED,
                "draw": DRAW,
                "said": SAID,
                "seed": b"s" * 32,
            }
            | changes
        )
    )


def test_the_seed_is_for_the_helper_and_for_this_sum_alone():
    sealed = sealer(HELPER).seal(TASK, masked())
    purpose = Purpose(SumName("ours", RUN, 3, Part.TRAIN), ASKED, DRAW)
    evaluation = Purpose(SumName("ours", RUN, 3, Part.EVALUATE), ASKED, DRAW)
    assert sealed.said == SAID
    assert open_seed(HELPER.keys, NODE.certificate, purpose, sealed) == b"s" * 32
    for keys, other in ((LEADER.keys, purpose), (HELPER.keys, evaluation)):
        with pytest.raises(BadSeed):
            open_seed(keys, NODE.certificate, other, sealed)


def test_a_task_that_names_another_helper_gets_no_seed():
    with pytest.raises(NoHelper, match="names leader"):
        sealer(HELPER, LEADER).seal(TASK, masked(helper="leader"))


def test_a_helper_that_is_away_is_trusted_still():
    known = Directory(NODE)
    present(known, HELPER)
    present(known, HELPER, online=False)
    assert SeedSealer(NODE, known, ANY_HELPER).helper.party == "helper"


def test_a_node_whose_owner_named_no_helper_trusts_none_and_says_what_to_do():
    unpinned = sealer(HELPER, key=None, patience_s=60)
    assert unpinned.helper is None
    for refused in (unpinned.trusted, lambda: unpinned.wait(threading.Event()), lambda: unpinned.seal(TASK, masked())):
        with pytest.raises(NoHelper, match=r"privacy\.helper_key is not set: ask the helper's own organisation"):
            refused()


def test_nobody_is_trusted_before_it_presents_itself():
    nobody = sealer()
    assert nobody.helper is None
    with pytest.raises(NoHelper, match="presented no certificate: is the helper running"):
        nobody.wait(threading.Event())


def test_a_helper_that_comes_is_waited_for():
    known = Directory(NODE)
    threading.Timer(0.3, present, (known, HELPER)).start()
    assert SeedSealer(NODE, known, ANY_HELPER, patience_s=20).wait(threading.Event()) == HELPER.certificate


def test_a_node_that_stops_waits_no_longer():
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(NoHelper):
        sealer(patience_s=60).wait(stopping)


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.LEADER, Role.HEALTH])
def test_a_party_of_that_name_and_another_role_is_not_trusted(role):
    pretender = sealer(OURS.enrol("helper", role), patience_s=60)
    assert pretender.helper is None
    with pytest.raises(NoHelper, match=f"role {role}"):
        pretender.wait(threading.Event())


def test_an_expired_certificate_is_not_trusted(monkeypatch):
    trusting = sealer(HELPER)
    later = HELPER.certificate.not_after + timedelta(seconds=1)

    class Later(type(later)):
        @classmethod
        def now(cls, tz=None):
            return later

    monkeypatch.setattr("privacy.boundary.directory.datetime", Later)
    with pytest.raises(NoHelper, match="expired"):
        trusting.seal(TASK, masked())


def test_a_helper_of_the_leader_s_making_has_other_keys_than_the_owner_insists_on():
    forged = sealer(OURS.enrol("helper", Role.HELPER), key=KEY)
    assert forged.helper is None
    with pytest.raises(NoHelper, match="ask the helper's own organisation"):
        forged.seal(TASK, masked())
    assert sealer(HELPER, key=KEY).helper.party == "helper"


def test_a_renewed_certificate_of_the_same_keys_is_the_same_helper():
    keys = PrivateKeys.generate()
    pem = OURS.sign(request(keys), party="helper", role=Role.HELPER)
    renewed = OURS.anchor.verify(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
    trusting = sealer(Identity(keys, renewed, OURS.anchor), key=keys.sealing_public.fingerprint)
    assert trusting.trusted() == renewed


@pytest.mark.parametrize("key", ["0" * 63, "G" * 64, "0" * 65, "anybody"])
def test_a_key_that_is_no_fingerprint_is_found_when_the_node_starts(key, tmp_path):
    (tmp_path / "node.toml").write_text(f'name = "a site"\n[privacy]\nhelper_key = "{key}"\n')
    with pytest.raises(BadConfig, match="helper_key"):
        NodeConfig.load(tmp_path / "node.toml")


def test_a_node_asks_for_a_secure_sum_unless_its_owner_says_otherwise(tmp_path):
    (tmp_path / "node.toml").write_text('name = "a site"\n')
    privacy = NodeConfig.load(tmp_path / "node.toml").privacy
    assert (privacy.secure_sum, privacy.helper_key) == ("required", None)


def test_a_helper_that_was_revoked_gets_no_seed():
    known = Directory(NODE)
    present(known, HELPER)
    made = SeedSealer(NODE, known, "any")
    made.seal(TASK, masked())
    known.revocations.receive(OURS.revocation_list({HELPER.certificate.serial: datetime.now(UTC)}).der)
    assert made.helper is None
    with pytest.raises(NoHelper, match="revoked"):
        made.seal(TASK, masked())
