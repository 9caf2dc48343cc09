"""The list of revoked certificates: which one is believed, for how long, and what it takes from whom."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.identity.authority import CertificateAuthority
from privacy.identity.revocation import (
    DEFAULT_VALIDITY,
    LONGEST_VALIDITY,
    MAX_LIST_BYTES,
    NO_LIST,
    BadRevocationList,
    RevocationList,
    Revocations,
)

OURS, NAMESAKE, OTHERS = (CertificateAuthority.create(name) for name in ("ours", "ours", "others"))
NOW = datetime.now(UTC)
GOOD = OURS.revocation_list({7: NOW}, number=10)


def made(
    *, by=OURS, number=11, begins=timedelta(), ends=DEFAULT_VALIDITY, serials=(7,), extra=None, issuer=None
) -> bytes:
    """A list with anything in it, signed by `by`."""
    builder = x509.CertificateRevocationListBuilder(issuer or by.certificate.subject, NOW + begins, NOW + begins + ends)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW).build())
    return builder.sign(by.key, None).public_bytes(serialization.Encoding.DER)


def why_not(encoded: bytes, known: Revocations | None = None) -> str:
    with pytest.raises(BadRevocationList) as turned_away:
        (known or Revocations(OURS.anchor)).receive(encoded)
    return str(turned_away.value)


def at(moment: datetime, encoded: bytes | None = GOOD.der) -> Revocations:
    """Who has this list, and whose clock shows this moment."""
    known = Revocations(OURS.anchor, clock=moment.timestamp)
    if encoded is not None:
        known.receive(encoded)
    return known


def test_a_list_of_the_authority_is_believed_and_revokes_whom_it_names():
    known = at(NOW)
    assert known.problem() is None
    assert known.revokes(7)
    assert not known.revokes(8)


def test_without_a_list_there_is_a_problem_and_nobody_is_revoked():
    known = at(NOW, None)
    assert known.problem() == NO_LIST
    assert known.seconds_left() == 0
    assert not known.revokes(7)


def test_a_list_that_another_authority_signed_is_not_believed():
    assert "not signed by this federation" in why_not(made(by=OTHERS))
    assert "not signed by this federation" in why_not(made(by=NAMESAKE))
    assert "not signed by this federation" in why_not(made(by=OTHERS, issuer=OURS.certificate.subject))


@given(place=st.integers(0, len(GOOD.der) - 1), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_list_with_any_bit_turned_over_is_not_believed(place, bit):
    damaged = bytearray(GOOD.der)
    damaged[place] ^= 1 << bit
    why_not(bytes(damaged))


@given(size=st.integers(0, len(GOOD.der) - 1))
@settings(max_examples=100, deadline=None)
def test_a_list_that_is_cut_off_is_not_believed(size):
    why_not(GOOD.der[:size])
    why_not(GOOD.der + bytes(size + 1))


def test_a_list_that_is_huge_is_turned_away_before_it_is_decoded():
    assert f"at most {MAX_LIST_BYTES}" in why_not(bytes(MAX_LIST_BYTES + 1))
    many = made(serials=range(2**150, 2**150 + 8000))
    assert len(many) > MAX_LIST_BYTES
    assert "at most" in why_not(many)


def test_a_list_in_pem_is_not_taken_off_the_wire_because_anything_could_stand_around_it():
    why_not(b"a record\n" + GOOD.pem)


def test_the_brokers_list_is_not_one_for_nodes():
    pem = OURS.broker_revocation_list({7: NOW})
    assert "a number" in why_not(x509.load_pem_x509_crl(pem).public_bytes(serialization.Encoding.DER))


def test_a_list_that_is_good_for_years_is_not_believed():
    assert "31 days" in why_not(made(ends=timedelta(days=400)))
    with pytest.raises(ValueError, match="31 days"):
        OURS.revocation_list(valid=LONGEST_VALIDITY + timedelta(seconds=1))


def test_a_list_of_changes_alone_is_not_believed():
    assert "critical extension" in why_not(made(extra=x509.DeltaCRLIndicator(3)))


def test_an_older_list_never_replaces_a_newer_one():
    known = at(NOW)
    assert "older" in why_not(made(number=9, serials=()), known)
    assert known.revokes(7)


def test_another_list_with_the_same_number_is_not_believed():
    known = at(NOW)
    assert "another list" in why_not(made(number=10, serials=()), known)
    assert known.revokes(7)


def test_a_newer_list_replaces_an_older_one_and_the_same_one_again_changes_nothing():
    known = at(NOW)
    newer = made(number=11, serials=(8,))
    assert known.receive(newer)
    assert not known.receive(newer)
    assert known.revokes(8)
    assert not known.revokes(7)


def test_a_list_that_has_ended_is_a_problem_and_still_revokes():
    known = at(NOW + timedelta(days=8))
    assert "ended on" in known.problem()
    assert known.revokes(7)


@pytest.mark.parametrize("years", [-56, -1])
def test_a_list_from_the_future_is_a_problem_and_still_revokes(years):
    known = at(NOW + timedelta(days=365 * years))
    assert "set this machine's clock" in known.problem()
    assert known.revokes(7)


def test_a_clock_that_was_set_makes_a_list_from_the_future_good():
    moments = [NOW, NOW - timedelta(days=100)]
    known = Revocations(OURS.anchor, clock=lambda: moments.pop().timestamp())
    known.receive(GOOD.der)
    assert known.problem() is not None
    assert known.problem() is None


def test_a_restart_does_not_forget_the_highest_number():
    kept: list[bytes] = []
    Revocations(OURS.anchor, keep=lambda newest: kept.append(newest.der)).receive(GOOD.der)
    again = Revocations(OURS.anchor, kept=kept[-1])
    assert "older" in why_not(made(number=9), again)
    assert again.revokes(7)


def test_a_list_that_could_not_be_kept_is_obeyed_and_kept_when_it_comes_again():
    kept: list[int] = []

    def keep(newest: RevocationList) -> None:
        if not full:
            kept.append(newest.number)
            return
        raise OSError("disk full")

    full = True
    known = Revocations(OURS.anchor, keep=keep)
    with pytest.raises(OSError, match="full"):
        known.receive(GOOD.der)
    assert known.revokes(7)
    full = False
    assert not known.receive(GOOD.der)
    assert kept == [10]


def test_a_kept_list_of_an_authority_before_this_one_is_left_aside():
    assert Revocations(OTHERS.anchor, kept=GOOD.der).problem() == NO_LIST


def test_the_number_grows_by_itself():
    first = OURS.revocation_list()
    assert first.number >= int(NOW.timestamp())
    assert first.good_until - NOW.timestamp() == pytest.approx(7 * 86400, abs=60)


def test_a_list_comes_back_from_its_file_and_a_damaged_file_is_named(tmp_path):
    (tmp_path / "list.pem").write_bytes(GOOD.pem)
    assert RevocationList.load(tmp_path / "list.pem", OURS.anchor) == GOOD
    (tmp_path / "list.pem").write_bytes(GOOD.pem[:100])
    with pytest.raises(BadRevocationList, match=r"list\.pem"):
        RevocationList.load(tmp_path / "list.pem", OURS.anchor)


def test_a_list_of_six_thousand_certificates_fits():
    every = {2**159 + serial: NOW for serial in range(6000)}
    assert Revocations(OURS.anchor).receive(OURS.revocation_list(every).der)
