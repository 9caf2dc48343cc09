"""Certificates and keys under attack: whom an authority vouches for, and what a folder of keys may be."""

import os
import ssl
import stat
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from privacy.boundary.broker import tls_context
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import (
    SEALING_KEY,
    Role,
    TrustAnchor,
    UntrustedCertificate,
    node_id_of,
    node_party,
)
from privacy.identity.keys import BadKey, PrivateKeys, SealingPublicKey, write_private

OURS = CertificateAuthority.create("ours")
NAMESAKE = CertificateAuthority.create("ours")
PARTY = "node-00000000000000a7"
NODE = OURS.enrol(PARTY, Role.NODE)
REQUEST = x509.load_pem_x509_csr(request(NODE.keys)).public_bytes(serialization.Encoding.DER)


def issued(
    authority=OURS,
    *,
    subject=(("O", "ours"), ("OU", "node"), ("CN", PARTY)),
    key=None,
    sealing: bytes | None = None,
) -> bytes:
    """A certificate (DER) that the authority really signed, with contents that `sign` would not give it."""
    now = datetime.now(UTC)
    oids = {
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    name = x509.Name([x509.NameAttribute(oids[field], value) for field, value in subject])
    public = (key or Ed25519PrivateKey.generate()).public_key()
    builder = x509.CertificateBuilder(
        authority.certificate.subject, name, public, 7, now - timedelta(hours=1), now + timedelta(hours=1)
    )
    if sealing is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(SEALING_KEY, sealing), critical=False)
    return builder.sign(authority.key, None).public_bytes(serialization.Encoding.DER)


def csr(*, key=None, algorithm=None, sealing: bytes | None = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leader")]))
    if sealing is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(SEALING_KEY, sealing), critical=False)
    return builder.sign(key or Ed25519PrivateKey.generate(), algorithm).public_bytes(serialization.Encoding.PEM)


def flipped(data: bytes, position: int, mask: int) -> bytes:
    at = position % len(data)
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def with_one_bit_changed(data: bytes) -> Iterator[bytes]:
    for position in range(len(data)):
        for bit in range(8):
            yield flipped(data, position, 1 << bit)


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


# Names


@given(st.integers(2, 2**64 - 1))
def test_every_node_id_survives_its_name(node_id):
    assert node_id_of(node_party(node_id)) == node_id


@given(st.text(st.sampled_from("0123456789abcdefABCDEFx_+- n١"), min_size=16, max_size=16))
def test_one_node_id_has_one_name(digits):
    """`int` reads `0x…`, `_`, `+`, spaces and other scripts' digits too: two names of one id would be two nodes."""
    try:
        node_id = node_id_of(f"node-{digits}")
    except ValueError:
        return
    assert node_party(node_id) == f"node-{digits}"


@pytest.mark.parametrize(
    "name",
    [
        "leader",
        "",
        "node-",
        "node-00000000000000000a7",
        "node-0000000000000000",
        "node-00000000000000A7",
        "node-0x000000000000a7",
        "node-+0000000000000a7",
        "node-0000000000000_a7",
        "node- 00000000000000a7",
        "Node-00000000000000a7",
        "node-00000000000000a7\n",
    ],
)
def test_what_is_not_the_name_of_a_node_is_named(name):
    with pytest.raises(ValueError, match="is not the name of a node"):
        node_id_of(name)


@pytest.mark.parametrize("node_id", [0, -1, 2**64])
def test_a_node_id_outside_uint64_has_no_name(node_id):
    with pytest.raises(ValueError, match=f"got {node_id}"):
        node_party(node_id)


@pytest.mark.parametrize(
    ("party", "role"),
    [
        ("leader", Role.NODE),
        (PARTY, Role.LEADER),
        (PARTY, Role.OBSERVER),
        ("node-x", Role.OBSERVER),
        ("node-00000000000000A7", Role.NODE),
    ],
)
def test_name_and_role_must_agree_when_a_certificate_is_made_and_when_it_is_shown(party, role):
    with pytest.raises(UntrustedCertificate, match="node"):
        OURS.sign(request(NODE.keys), party=party, role=role)
    with pytest.raises(UntrustedCertificate, match="node"):
        OURS.anchor.verify(issued(subject=(("O", "ours"), ("OU", role), ("CN", party))))


# Certificates


@pytest.mark.parametrize(
    ("party", "role"), [(PARTY, Role.NODE), ("leader", Role.LEADER), ("observer", Role.OBSERVER), ("b", Role.BROKER)]
)
def test_a_certificate_says_who_a_party_is_and_holds_both_its_keys(party, role):
    identity = OURS.enrol(party, role)
    shown = OURS.anchor.verify(identity.certificate.der)
    assert (shown.party, shown.role, shown.federation) == (party, role, "ours")
    assert shown.verify_key == identity.keys.signing.public_key()
    assert shown.sealing_key == identity.keys.sealing_public


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_changed_bit_changes_what_a_certificate_says():
    for changed in with_one_bit_changed(NODE.certificate.der):
        try:
            shown = OURS.anchor.verify(changed)
        except UntrustedCertificate:
            continue
        # The one byte that says how many bits at the end are unused is covered by no signature.
        assert replace(shown, der=b"") == replace(NODE.certificate, der=b"")


def test_no_beginning_of_a_certificate_is_a_certificate():
    for length in range(len(NODE.certificate.der)):
        with pytest.raises(UntrustedCertificate, match="not issued by"):
            OURS.anchor.verify(NODE.certificate.der[:length])


@given(st.binary(max_size=200))
def test_random_bytes_are_no_certificate(data):
    with pytest.raises(UntrustedCertificate, match="not issued by"):
        OURS.anchor.verify(data)


def test_another_authority_of_the_same_name_is_not_trusted():
    with pytest.raises(UntrustedCertificate, match="not issued by"):
        OURS.anchor.verify(NAMESAKE.enrol(PARTY, Role.NODE).certificate.der)


def test_a_certificate_that_another_party_signed_is_not_trusted():
    pretender = CertificateAuthority(NODE.keys.signing, x509.load_der_x509_certificate(NODE.certificate.der))
    with pytest.raises(UntrustedCertificate, match="not issued by"):
        OURS.anchor.verify(issued(pretender))


def test_the_authority_is_no_party():
    with pytest.raises(UntrustedCertificate, match="authority"):
        OURS.anchor.verify(OURS.certificate.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("after", [timedelta(days=399), timedelta(hours=-2)])
def test_a_certificate_outside_its_time_is_not_trusted_and_the_clock_is_mentioned(after):
    with pytest.raises(UntrustedCertificate, match=rf"(?s){PARTY} is valid .* clock"):
        OURS.anchor.verify(NODE.certificate.der, at=datetime.now(UTC) + after)


def test_a_certificate_that_was_made_to_end_early_has_expired():
    ended = OURS.sign(request(NODE.keys), party=PARTY, role=Role.NODE, lifetime=timedelta(seconds=-1))
    der = x509.load_pem_x509_certificate(ended).public_bytes(serialization.Encoding.DER)
    with pytest.raises(UntrustedCertificate, match="renew"):
        OURS.anchor.verify(der)


def test_a_revoked_certificate_is_not_trusted_and_its_successor_is():
    anchor = TrustAnchor(OURS.certificate, frozenset({NODE.certificate.serial}))
    with pytest.raises(UntrustedCertificate, match="revoked"):
        anchor.verify(NODE.certificate.der)
    assert anchor.verify(OURS.enrol(PARTY, Role.NODE).certificate.der).party == PARTY


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"subject": (("O", "ours"), ("OU", "janitor"), ("CN", PARTY))}, "janitor"),
        ({"subject": (("O", "theirs"), ("OU", "node"), ("CN", PARTY))}, "another federation"),
        ({"subject": (("O", "ours"), ("CN", PARTY))}, "organizationalUnitName once, this one 0"),
        ({"subject": (("O", "ours"), ("OU", "node"), ("CN", PARTY), ("CN", "leader"))}, "commonName once, this one 2"),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "no Ed25519"),
        ({"sealing": b"short"}, "1216 bytes, got 5"),
    ],
)
def test_a_certificate_that_does_not_say_what_it_must_is_not_trusted(options, why):
    with pytest.raises(UntrustedCertificate, match=why):
        OURS.anchor.verify(issued(**options))


# Requests


def test_no_changed_bit_changes_what_a_request_asks_for():
    for changed in with_one_bit_changed(REQUEST):
        body = b64encode(changed)
        pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"\n-----END CERTIFICATE REQUEST-----\n"
        try:
            certificate = x509.load_pem_x509_certificate(OURS.sign(pem, party=PARTY, role=Role.NODE))
        except UntrustedCertificate:
            continue
        shown = OURS.anchor.verify(certificate.public_bytes(serialization.Encoding.DER))
        assert (shown.verify_key, shown.sealing_key) == (NODE.certificate.verify_key, NODE.certificate.sealing_key)


def test_the_name_that_a_request_asks_for_is_ignored():
    pem = OURS.sign(csr(sealing=NODE.keys.sealing_public.raw), party=PARTY, role=Role.NODE)
    names = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == [PARTY]


X25519_OF_LOW_ORDER = NODE.keys.sealing_public.raw[:1184] + bytes(32)
NO_MLKEM = b"\xff" * 1184 + NODE.keys.sealing_public.raw[1184:]


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (b"", "not a request"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "not a request"),
        (csr(), "not a request"),
        (csr(sealing=b"short"), "1216 bytes, got 5"),
        (csr(sealing=X25519_OF_LOW_ORDER), "not a valid sealing key"),
        (csr(sealing=NO_MLKEM), "not a valid sealing key"),
        (
            csr(
                key=ec.generate_private_key(ec.SECP256R1()),
                algorithm=hashes.SHA256(),
                sealing=NODE.keys.sealing_public.raw,
            ),
            "Ed25519",
        ),
    ],
)
def test_a_request_with_keys_that_nobody_could_use_is_turned_away(pem, why):
    with pytest.raises(UntrustedCertificate, match=why):
        OURS.sign(pem, party=PARTY, role=Role.NODE)


def test_an_authority_that_has_expired_says_so():
    now = datetime.now(UTC)
    name = OURS.certificate.subject
    ended = x509.CertificateBuilder(
        name, name, OURS.key.public_key(), 1, now - timedelta(days=9), now - timedelta(days=1)
    )
    with pytest.raises(UntrustedCertificate, match="authority expired on"):
        CertificateAuthority(OURS.key, ended.sign(OURS.key, None)).enrol(PARTY, Role.NODE)


# Folders


def test_an_identity_is_loaded_as_it_was_saved(tmp_path):
    NODE.save(tmp_path)
    loaded = Identity.load(tmp_path)
    assert loaded.certificate == NODE.certificate
    assert loaded.keys.open(NODE.keys.sealing_public.seal(b"secret", info=b"i"), info=b"i") == b"secret"


def test_an_authority_is_loaded_as_it_was_saved(tmp_path):
    OURS.save(tmp_path)
    assert CertificateAuthority.load(tmp_path).enrol(PARTY, Role.NODE).party == PARTY


@pytest.mark.usefixtures("loose_umask")
@pytest.mark.parametrize("existing_mode", [None, 0o666])
def test_private_keys_are_their_owners_alone_whatever_the_umask_and_whatever_was_there(tmp_path, existing_mode):
    names = ("signing.key", "sealing.key", "authority.key")
    if existing_mode is not None:
        for name in names:
            (tmp_path / name).write_bytes(b"old")
            (tmp_path / name).chmod(existing_mode)
    NODE.save(tmp_path)
    OURS.save(tmp_path)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == {0o600}


def test_a_key_file_is_replaced_whole_or_not_at_all(tmp_path):
    """A Pi loses power at any moment, and a half-written key is a node to drive to."""
    write_private(tmp_path / "key", b"old")
    with (tmp_path / "key").open("rb") as open_before:
        write_private(tmp_path / "key", b"new")
        assert open_before.read() == b"old"
    with pytest.raises(TypeError):
        write_private(tmp_path / "key", None)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", b"new")]


def test_a_private_key_is_not_written_through_a_link(tmp_path):
    (tmp_path / "public").write_bytes(b"")
    (tmp_path / "key").symlink_to(tmp_path / "public")
    write_private(tmp_path / "key", b"secret")
    assert (tmp_path / "public").read_bytes() == b""


@pytest.mark.parametrize(
    "content",
    [None, b"", b"junk", b"\xff" * 96, b"-----BEGIN CERTIFICATE-----\n"],
    ids=["missing", "empty", "junk", "as long as a key", "only a beginning"],
)
@pytest.mark.parametrize("name", ["signing.key", "sealing.key", "party.pem", "authority.pem"])
def test_a_missing_or_damaged_file_names_the_folder(tmp_path, name, content):
    NODE.save(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadKey, match=str(tmp_path)):
        Identity.load(tmp_path)


def test_a_key_under_a_password_is_named_as_unusable(tmp_path):
    NODE.save(tmp_path)
    locked = NODE.keys.signing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "signing.key").write_bytes(locked)
    with pytest.raises(BadKey, match="no usable keys"):
        Identity.load(tmp_path)


@pytest.mark.parametrize("swapped", ["signing.key", "sealing.key", "party.pem", "authority.pem"])
def test_a_folder_with_a_file_of_another_identity_is_refused(tmp_path, swapped):
    NODE.save(tmp_path / "ours")
    NAMESAKE.enrol(PARTY, Role.NODE).save(tmp_path / "theirs")
    (tmp_path / "theirs" / swapped).replace(tmp_path / "ours" / swapped)
    with pytest.raises((BadKey, UntrustedCertificate), match=r"other keys|not issued by"):
        Identity.load(tmp_path / "ours")


def test_a_certificate_of_the_same_party_but_its_former_keys_is_refused(tmp_path):
    NODE.save(tmp_path)
    OURS.enrol(PARTY, Role.NODE).keys.save(tmp_path)
    with pytest.raises(BadKey, match="other keys"):
        Identity.load(tmp_path)


def test_an_authority_with_a_key_of_another_is_refused(tmp_path):
    OURS.save(tmp_path / "ours")
    NAMESAKE.save(tmp_path / "theirs")
    (tmp_path / "theirs" / "authority.key").replace(tmp_path / "ours" / "authority.key")
    with pytest.raises(BadKey, match="another key"):
        CertificateAuthority.load(tmp_path / "ours")


# Sealing


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_what_is_sealed_is_opened_by_its_addressee(plaintext, info):
    assert NODE.keys.open(NODE.keys.sealing_public.seal(plaintext, info=info), info=info) == plaintext


SEALED = NODE.keys.sealing_public.seal(b"a secret", info=b"header")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_seal_with_a_changed_byte_does_not_open(position, mask):
    with pytest.raises(InvalidTag):
        NODE.keys.open(flipped(SEALED, position, mask), info=b"header")


def test_no_beginning_of_a_seal_opens():
    for length in range(len(SEALED)):
        with pytest.raises(InvalidTag):
            NODE.keys.open(SEALED[:length], info=b"header")


def test_a_seal_opens_with_its_own_header_and_keys_alone():
    with pytest.raises(InvalidTag):
        NODE.keys.open(SEALED, info=b"another header")
    with pytest.raises(InvalidTag):
        PrivateKeys.generate().open(SEALED, info=b"header")


@pytest.mark.parametrize("raw", [X25519_OF_LOW_ORDER, NO_MLKEM])
def test_a_sealing_key_that_would_seal_to_nobody_is_named(raw):
    with pytest.raises(BadKey, match="not a valid sealing key"):
        SealingPublicKey(raw).seal(b"secret", info=b"")


# TLS


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while sides:
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue


def server_context(folder, identity: Identity) -> ssl.SSLContext:
    identity.save(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "party.pem", folder / "signing.key")
    context.load_verify_locations(folder / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_certificates_pass_the_strict_checks_that_python_3_13_makes(tmp_path):
    server = server_context(tmp_path / "broker", OURS.enrol("broker", Role.BROKER, ["127.0.0.1", "broker.example"]))
    NODE.save(tmp_path / "node")
    client = tls_context(tmp_path / "node")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    shake_hands(client, server, "127.0.0.1")
    shake_hands(client, server, "broker.example")


def test_a_party_called_like_a_host_is_not_that_host(tmp_path):
    server = server_context(tmp_path / "broker", OURS.enrol("localhost", Role.OBSERVER))
    NODE.save(tmp_path / "node")
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        shake_hands(tls_context(tmp_path / "node"), server, "localhost")


def test_a_broker_of_another_authority_is_not_spoken_to(tmp_path):
    server = server_context(tmp_path / "broker", NAMESAKE.enrol("broker", Role.BROKER, ["localhost"]))
    NODE.save(tmp_path / "node")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls_context(tmp_path / "node"), server, "localhost")


@pytest.mark.parametrize("name", ["authority.pem", "party.pem", "signing.key"])
def test_tls_files_that_are_missing_or_damaged_are_named(tmp_path, name):
    NODE.save(tmp_path)
    (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(OSError, match=str(tmp_path / name)):
        tls_context(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(OSError, match=rf"{tmp_path / name}.*not there"):
        tls_context(tmp_path)
