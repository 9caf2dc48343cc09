"""A node seals its seeds to a valid helper alone, and to the keys that its owner insists on."""

from datetime import timedelta

import pytest

from edge.config import BadConfig, NodeConfig
from edge.helper_trust import HelperTrust
from privacy.boundary.directory import Directory
from privacy.boundary.gate import presence
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import Role, node_party
from privacy.identity.keys import PrivateKeys

OURS = CertificateAuthority.create("ours")
NODE = OURS.enrol(node_party(2), Role.NODE)
HELPER = OURS.enrol("helper", Role.HELPER)


def directory(*parties):
    """What a node knows after these have presented themselves."""
    known = Directory(NODE)
    for party in parties:
        here = presence(party, bytes(16), online=True, software="jaga")
        known.receive(here.topic, here.payload)
    return known


def test_a_helper_that_has_presented_itself_is_trusted():
    assert HelperTrust(directory(HELPER)).certificate() == HELPER.certificate


def test_one_that_is_gone_for_now_still_is():
    known = directory(HELPER)
    gone = presence(HELPER, bytes(16), online=False, software="jaga")
    known.receive(gone.topic, gone.payload)
    assert HelperTrust(known).certificate() == HELPER.certificate


def test_nobody_is_trusted_before_it_presents_itself():
    assert HelperTrust(directory()).certificate() is None


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.LEADER, Role.HEALTH])
def test_a_party_of_that_name_and_another_role_is_not_trusted(role):
    assert HelperTrust(directory(OURS.enrol("helper", role))).certificate() is None


def test_an_expired_certificate_is_not_trusted(monkeypatch):
    known = directory(HELPER)
    later = HELPER.certificate.not_after + timedelta(seconds=1)

    class Clock(type(later)):
        @classmethod
        def now(cls, tz=None):
            return later

    monkeypatch.setattr("privacy.boundary.directory.datetime", Clock)
    assert HelperTrust(known).certificate() is None


def test_a_helper_of_the_leader_s_making_has_other_keys_than_the_owner_insists_on():
    forged = OURS.enrol("helper", Role.HELPER)
    assert HelperTrust(directory(forged), HELPER.certificate.fingerprint).certificate() is None
    assert HelperTrust(directory(HELPER), HELPER.certificate.fingerprint).certificate() is not None


def test_a_renewed_certificate_of_the_same_keys_is_the_same_helper():
    keys = PrivateKeys.generate()
    certificates = [
        OURS.anchor.verify(_der(OURS.sign(request(keys), party="helper", role=Role.HELPER))) for _ in range(2)
    ]
    assert certificates[0].serial != certificates[1].serial
    assert certificates[0].fingerprint == certificates[1].fingerprint
    renewed = Identity(keys, certificates[1], OURS.anchor)
    assert HelperTrust(directory(renewed), certificates[0].fingerprint).certificate() == certificates[1]


@pytest.mark.parametrize("key", ["0" * 63, "G" * 64, "0" * 65])
def test_a_key_that_is_no_fingerprint_is_found_when_the_node_starts(key, tmp_path):
    (tmp_path / "node.toml").write_text(f'name = "a site"\n[privacy]\nhelper_key = "{key}"\n')
    with pytest.raises(BadConfig, match="helper_key"):
        NodeConfig.load(tmp_path / "node.toml")


def _der(pem: bytes) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
