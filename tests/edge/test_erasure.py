"""Erasing one tag: what is deleted, that its bytes are gone, and the receipt."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edge.sensing.sightings import WINDOW_S, Sighting
from edge.store.calibration import StoredCorrections
from edge.store.connection import transaction
from edge.store.day_keys import DayKeys
from edge.store.erasure import Erasure, StillReadable, Subject
from edge.store.receipts import BadReceipt, Receipts, SignedReceipt, read, verified
from edge.store.sightings import Sightings
from edge.store.tags import Tags
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.journal import BrokenChain
from privacy.tokens.tags import day_key, identifiers

OURS = CertificateAuthority.create("ours")
NODE = OURS.enrol(node_party(7), Role.NODE)
DAYS = (20_000, 20_001)
NOW = datetime.now(UTC).timestamp()
LABEL, OTHER = "tag-anggrek-erased", "tag-bakung-stays"


def seen(identifier, window, receiver=0):
    return Sighting(identifier, window, 2, -140, 9800, -75, -65, b"\x01\x02\x03\x04", receiver)


@pytest.fixture
def busy(connection):
    """A store of two days: two tags among two hundred strangers, and all that can be derived from them."""
    chance = random.Random(1)
    secrets = {label: Tags(connection).add(label, NOW).secret for label in (LABEL, OTHER)}
    sightings = Sightings(connection)
    for day in DAYS:
        shown = {label: identifiers(secret, day) for label, secret in secrets.items()}
        for period in range(60, 100):
            strangers = [chance.randbytes(16) for _ in range(20)]
            first = day * 4320 + period * 30
            rows = [
                seen(identifier, window)
                for window in range(first, first + 30, 3)
                for identifier in [*(those[period] for those in shown.values()), *chance.sample(strangers, 10)]
            ]
            sightings.add(rows, NOW)
        for label, secret in secrets.items():
            connection.execute(
                "INSERT INTO exposures (day, subject, mode, room, minutes, score, closeness, found_at) "
                "VALUES (?, ?, 'zone', 'kelas', 20, 20, 0.5, ?)",
                (day, label, NOW),
            )
            connection.execute("INSERT INTO seen_keys (key, day) VALUES (?, ?)", (day_key(secret, day), day))
    for label in secrets:
        connection.execute(
            "INSERT INTO calibration_sessions (adapter, transmitter, started_at) VALUES ('usb', ?, ?)", (label, NOW)
        )
        StoredCorrections(connection).set({}, {label: 3.0}, NOW)
    # As a node that has been running for a while: all of this is in the file, not only in the log.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return secrets


def traces(connection, secret, label):
    """Whatever could betray the tag: label, secret, keys, and identifiers in clear and sealed."""
    shown = [identifier for day in DAYS for identifier in identifiers(secret, day)]
    keys = [DayKeys(connection).find(day) for day in DAYS]
    sealed = [key.seal(identifier) for key, identifier in itertools.product(keys, shown)]
    return {
        "label": [label.encode()],
        "secret": [secret],
        "day keys": [day_key(secret, day) for day in DAYS],
        "identifiers": shown,
        "sealed identifiers": sealed,
    }


@pytest.fixture
def found(database, plaintext):
    """How many traces of each kind are in the store's file and its log, decrypted."""

    def count(wanted):
        there = plaintext(database)
        return {what: sum(one in there for one in those) for what, those in wanted.items()}

    return count


def erase(connection, label=LABEL):
    return Erasure(connection).erase(Subject.of(Tags(connection).get(label)), NODE, NOW)


def test_after_an_erasure_no_byte_of_the_tag_is_in_the_file_or_its_log(database, connection, busy, found):
    wanted = traces(connection, busy[LABEL], LABEL)
    before = found(wanted)
    assert before["label"] == before["secret"] == 1, "the test can find what is there"
    assert (before["day keys"], before["sealed identifiers"]) == (2, 80)
    erase(connection)
    assert found(wanted) == dict.fromkeys(wanted, 0)
    database.check()


def test_the_other_tag_and_the_strangers_stay(database, connection, busy, found):
    before = Sightings(connection).count()
    stays = sorted(
        one.identifier for day in DAYS for one in Sightings(connection).between(day * 86400, (day + 1) * 86400)
    )
    gone = {identifier for day in DAYS for identifier in identifiers(busy[LABEL], day)}
    erase(connection)
    assert Sightings(connection).count() == before - 2 * 40 * 10
    after = sorted(
        one.identifier for day in DAYS for one in Sightings(connection).between(day * 86400, (day + 1) * 86400)
    )
    assert after == [identifier for identifier in stays if identifier not in gone]
    for table, column in (
        ("tags", "label"),
        ("exposures", "subject"),
        ("calibration_sessions", "transmitter"),
        ("corrections", "name"),
    ):
        assert {row[0] for row in connection.execute(f"SELECT {column} FROM {table}")} == {OTHER}
    assert connection.execute("SELECT count(*) FROM seen_keys").fetchone()[0] == 2
    there = found(traces(connection, busy[OTHER], OTHER))
    assert there["label"]
    assert there["secret"]
    assert there["sealed identifiers"] == 80


def test_a_receipt_counts_what_was_deleted_and_reads_in_both_languages(connection, busy):
    signed = erase(connection)
    receipt, certificate = verified(signed, OURS.anchor)
    assert receipt.counts == {
        "sightings": 800,
        "exposures": 2,
        "calibration_sessions": 1,
        "corrections": 1,
        "reported_keys": 2,
        "tags": 1,
    }
    assert (receipt.days, receipt.at, certificate.party) == (2, NOW, NODE.party)
    assert "800 sightings, 2 exposures" in signed.text
    assert "800 catatan sinyal, 2 paparan" in signed.text


def test_a_receipt_names_nobody_but_can_be_matched_by_who_has_the_secret(connection, busy):
    signed = erase(connection)
    written = signed.encode()
    for trace in (LABEL.encode(), busy[LABEL], busy[LABEL].hex().encode()):
        assert trace not in written
        assert trace not in signed.receipt
    receipt, _ = verified(signed, OURS.anchor)
    assert receipt.is_about(busy[LABEL])
    assert not receipt.is_about(busy[OTHER])


def test_two_receipts_for_one_tag_cannot_be_linked(connection, busy):
    first, _ = verified(erase(connection), OURS.anchor)
    Tags(connection).add(LABEL, NOW, busy[LABEL])
    second, _ = verified(erase(connection), OURS.anchor)
    assert first.commitment != second.commitment


def test_a_receipt_survives_its_file(connection, busy, tmp_path):
    signed = erase(connection)
    (tmp_path / "receipt.json").write_bytes(signed.encode())
    assert read(tmp_path / "receipt.json") == signed
    assert Receipts(connection).has(signed)
    assert Erasure(connection).finish(1) == signed


@pytest.mark.parametrize("part", ["text", "receipt", "signature", "certificate"])
def test_a_receipt_that_was_changed_is_refused(connection, busy, part):
    signed = erase(connection)
    whole = getattr(signed, part)
    changed = whole.replace("800", "900") if part == "text" else bytes([whole[0] ^ 1]) + whole[1:]
    with pytest.raises(BadReceipt, match=r"was changed(, or is none of this federation|: its text)"):
        verified(msgspec.structs.replace(signed, **{part: changed}), OURS.anchor)


def test_a_receipt_of_another_federation_or_made_up_is_refused(connection, busy):
    signed = erase(connection)
    with pytest.raises(BadReceipt, match="not issued by this federation"):
        verified(signed, CertificateAuthority.create("ours").anchor)
    forger = OURS.enrol(node_party(8), Role.NODE)
    body = msgspec.json.encode(msgspec.structs.replace(verified(signed, OURS.anchor)[0], row=2))
    signature = forger.keys.signing.sign(b"jaga erasure receipt 1\n" + body)
    forged = SignedReceipt(text=signed.text, receipt=body, signature=signature, certificate=forger.certificate.der)
    with pytest.raises(BadReceipt, match="its text or its node"):
        verified(forged, OURS.anchor)


def test_a_receipt_holds_after_the_nodes_certificate_expired(connection, busy):
    signed = erase(connection)
    receipt, certificate = verified(signed, OURS.anchor)
    assert certificate.not_after > datetime.fromtimestamp(NOW, UTC) > certificate.not_after - timedelta(days=4000)
    stale = msgspec.json.encode(msgspec.structs.replace(receipt, at=certificate.not_after.timestamp() + 1))
    signature = NODE.keys.signing.sign(b"jaga erasure receipt 1\n" + stale)
    with pytest.raises(BadReceipt, match="is valid"):
        verified(msgspec.structs.replace(signed, receipt=stale, signature=signature), OURS.anchor)


def test_receipts_are_chained_and_a_missing_one_shows(connection, busy):
    erase(connection)
    erase(connection, OTHER)
    receipts = Receipts(connection)
    assert receipts.verify()[0] == 2
    with pytest.raises(Exception, match="rows are never deleted"):
        connection.execute("DELETE FROM receipts WHERE row = 1")
    connection.execute("DROP TRIGGER receipts_loses_none")
    connection.execute("DELETE FROM receipts WHERE row = 1")
    with pytest.raises(BrokenChain, match="row 1 of receipts is missing"):
        receipts.verify()


def test_a_person_whose_tag_is_not_in_the_register_is_erased_by_its_secret(database, connection, busy, found):
    secret = busy[LABEL]
    Tags(connection).remove(LABEL)
    receipt, _ = verified(Erasure(connection).erase(Subject(secret=secret), NODE, NOW), OURS.anchor)
    assert (receipt.counts["sightings"], receipt.counts["tags"]) == (800, 0)
    assert receipt.is_about(secret)
    assert found(traces(connection, secret, LABEL))["sealed identifiers"] == 0


def test_single_identifiers_can_be_erased_and_the_receipt_is_about_them(connection, busy):
    two = frozenset(identifiers(busy[LABEL], DAYS[0])[70:72])
    subject = Subject(identifiers=two)
    receipt, _ = verified(Erasure(connection).erase(subject, NODE, NOW), OURS.anchor)
    assert receipt.counts["sightings"] == 20
    assert receipt.is_about(subject.key)


def test_an_identifier_shown_past_midnight_by_a_clock_that_is_off_is_found(connection):
    secret = Tags(connection).add(LABEL, NOW).secret
    late, early = identifiers(secret, DAYS[0] - 1)[-3], identifiers(secret, DAYS[0] + 1)[3]
    first = DAYS[0] * 86400 // WINDOW_S
    Sightings(connection).add([seen(late, first), seen(early, first + 4319)], NOW)
    erase(connection)
    assert Sightings(connection).count() == 0


def test_erasing_nobody_is_refused():
    with pytest.raises(ValueError, match="nothing to look for"):
        Subject("tag-07")


def test_inside_a_transaction_it_is_refused_and_nothing_happens(connection, busy):
    with transaction(connection), pytest.raises(RuntimeError, match="inside a transaction"):
        erase(connection)
    assert Tags(connection).get(LABEL)


def test_an_erasure_that_fails_leaves_everything_and_no_receipt(connection, busy):
    before = Sightings(connection).count()
    connection.execute("CREATE TRIGGER no BEFORE DELETE ON tags BEGIN SELECT RAISE(ABORT, 'power cut'); END")
    with pytest.raises(Exception, match="power cut"):
        erase(connection)
    assert Sightings(connection).count() == before
    assert Receipts(connection).verify()[0] == 0


def test_while_another_reads_the_receipt_is_held_back_until_the_bytes_are_gone(database, connection, busy, found):
    wanted = traces(connection, busy[LABEL], LABEL)
    reader = database.connect()
    reader.execute("BEGIN")
    assert Sightings(reader).count()
    connection.execute("PRAGMA busy_timeout = 1")
    pauses = []
    with pytest.raises(StillReadable, match="--finish 1"):
        Erasure(connection, pause=pauses.append).erase(Subject.of(Tags(connection).get(LABEL)), NODE, NOW)
    assert len(pauses) == 5
    assert found(wanted)["secret"], "which is why there is no receipt yet"
    reader.execute("COMMIT")
    reader.close()
    receipt, _ = verified(Erasure(connection).finish(1), OURS.anchor)
    assert receipt.counts["sightings"] == 800
    assert found(wanted) == dict.fromkeys(wanted, 0)


def test_what_is_no_receipt_is_named(tmp_path, connection):
    with pytest.raises(BadReceipt, match="no receipt there"):
        read(tmp_path / "absent")
    (tmp_path / "other").write_text("{}")
    with pytest.raises(BadReceipt, match="no receipt there"):
        read(tmp_path / "other")
    with pytest.raises(BadReceipt, match="there is no receipt 5"):
        Erasure(connection).finish(5)


def test_copies_that_pages_kept_when_the_tables_grew_are_gone_too(connection, found):
    chance = random.Random(3)
    labels = ["tag " + "".join(chance.choices("abcdefghij", k=24)) for _ in range(600)]
    with transaction(connection):
        for label in labels:
            connection.execute("INSERT INTO tags VALUES (?, ?, 0)", (label, chance.randbytes(32)))
            connection.execute(
                "INSERT INTO exposures (day, subject, mode, room, minutes, score, closeness, found_at) "
                "VALUES (?, ?, 'zone', 'kelas', 20, 20, 0.5, 0)",
                (chance.randrange(14), label),
            )
            StoredCorrections(connection).set({}, {label: 3.0}, NOW)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    erased = [Tags(connection).get(label) for label in labels[::12]]
    for tag in erased:
        Erasure(connection).erase(Subject.of(tag), NODE, NOW)
    assert found({"labels": [tag.label.encode() for tag in erased], "secrets": [tag.secret for tag in erased]}) == {
        "labels": 0,
        "secrets": 0,
    }
