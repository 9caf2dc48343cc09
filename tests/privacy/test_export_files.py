"""Files of diagnosis keys: real ones of Google's, ours, and hostile ones."""

import base64
import io
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.tokens.archive import CONTENTS, SIGNATURES, pack
from privacy.tokens.export import (
    CLOCK_SLACK_S,
    HEADER,
    KEPT_S,
    Authority,
    DiagnosisKeys,
    KeyStillInUse,
    Signer,
    message_of,
    padded,
    read_export,
    write_export,
)
from privacy.tokens.export_keys import BadSigningKey
from privacy.tokens.export_messages import ExportMessage, SignaturesMessage
from privacy.tokens.gaen import ReportType, TemporaryExposureKey
from privacy.tokens.refusal import ExportReason, ExportRefused

NOW = 20_000 * 86400
TODAY = NOW // 600
SIGNER = Signer.create("510", "v1")
OURS = SIGNER.authority

# Published beside the sample files: google/exposure-notifications-server, examples/export/public.pem at ece2b68, and
# google/exposure-notifications-internals, ContactTracingFeature.java at 413b561.
SERVER_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEml59itec9qzwVojreLXdPNRsUWzfYHc1cKvIIi6/H56AJS/kZEYQnfDpxrgyGhdAm+pNN2GA"
    "J3XdnQZ1Sk4amg=="
)
INTERNALS_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE49JY6kekDgxj3Crm4y6kEHdfoKQFSNDM4mV9cgDb+e5nOAw0GeRoRThCu9/wX5wDT2QloFoO"
    "jl2pGZHI0f3C3w=="
)
SAMPLES = [
    # name, key id, version, public key, end of the export, number of keys
    ("server_testExport-2-records-1-of-1.zip", "some_id", "1", SERVER_KEY, 1590246000, 2),
    ("sample_diagnosis_key_file.zip", "310", "v1", INTERNALS_KEY, 1593633900, 140),
]


@pytest.fixture(scope="module")
def gaen() -> Path:
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("JAGA_SHARED_DATA", beside)) / "gaen"
    if not folder.is_dir():
        pytest.skip(f"no key files in {folder}: set JAGA_SHARED_DATA (files from google/exposure-notifications-server)")
    return folder


def authority(key: str, key_id: str, version: str) -> Authority:
    public_key = load_der_public_key(base64.b64decode(key))
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return Authority(public_key, key_id, version)


def key_of(at: int, days_ago: int = 1, **changes) -> TemporaryExposureKey:
    key = TemporaryExposureKey(bytes([at]) * 16, TODAY - 144 * days_ago - 144, 144, 2, ReportType.CONFIRMED_TEST, 1)
    return replace(key, **changes)


EXPORT = DiagnosisKeys("ID-JT", NOW - 86400, NOW, tuple(key_of(at) for at in (3, 1, 2)))
ARCHIVE = write_export(EXPORT, SIGNER)


def read(archive: bytes, authorities=OURS, **changes) -> DiagnosisKeys:
    return read_export(archive, authorities, **{"region": "ID-JT", "now": NOW, **changes})


def turned_away(archive: bytes, authorities=OURS, **changes) -> ExportReason:
    with pytest.raises(ExportRefused) as why:
        read(archive, authorities, **changes)
    return why.value.reason


def files_of(archive: bytes) -> tuple[bytes, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        return packed.read(CONTENTS), packed.read(SIGNATURES)


def signed(message, *, header: bytes = HEADER, batch: tuple[int, int] = (1, 1)) -> bytes:
    """An archive with any message in it, signed as the authority does."""
    if not message.signature_infos:
        message.signature_infos.add(**SIGNER.names)
    contents = header + message.SerializeToString()
    signatures = SignaturesMessage()
    signatures.signatures.add(
        signature_info=message.signature_infos[0],
        batch_num=batch[0],
        batch_size=batch[1],
        signature=SIGNER.sign(contents),
    )
    return pack(contents, signatures.SerializeToString())


def message(**changes):
    fields = {"start_timestamp": NOW - 86400, "end_timestamp": NOW, "region": "ID-JT", "batch_num": 1, "batch_size": 1}
    return ExportMessage(**{**fields, **changes})


def message_with(**key):
    made = message()
    made.keys.add(**{"key_data": bytes(16), "rolling_start_interval_number": TODAY - 288, **key})
    return made


# --- Google's files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "key_id", "version", "key", "end", "count"), SAMPLES)
def test_googles_signed_files_verify_with_googles_public_keys(gaen, name, key_id, version, key, end, count):
    archive = (gaen / name).read_bytes()
    keys = read(archive, authority(key, key_id, version), region="US", now=end)
    assert len(keys.keys) == count
    assert keys.ends_at == end
    assert keys.stale == 0
    assert [one.key for one in keys.keys] == sorted(one.key for one in keys.keys)


@pytest.mark.parametrize(("name", "key_id", "version", "key", "end", "count"), SAMPLES)
def test_googles_files_do_not_verify_with_another_key_of_that_name(gaen, name, key_id, version, key, end, count):
    other = Signer.create(key_id, version).authority
    archive = (gaen / name).read_bytes()
    assert turned_away(archive, other, region="US", now=end) is ExportReason.BAD_SIGNATURE


@pytest.mark.parametrize(("name", "key_id", "version", "key", "end", "count"), SAMPLES)
def test_our_messages_write_googles_files_byte_for_byte(gaen, name, key_id, version, key, end, count):
    """So our descriptors have every field of theirs, under its number and kind."""
    contents, signatures = files_of((gaen / name).read_bytes())
    assert HEADER + message_of(contents).SerializeToString(deterministic=True) == contents
    assert SignaturesMessage.FromString(signatures).SerializeToString(deterministic=True) == signatures


@pytest.mark.parametrize(
    ("name", "count", "end"), [("export.bin", 200, 1588857586), ("app_raw_export.bin", 110, 1588890000)]
)
def test_googles_unsigned_contents_are_read_in_full(gaen, name, count, end):
    """These have no signature beside them: what can be checked is that no byte of them is unknown to us."""
    contents = (gaen / name).read_bytes()
    found = message_of(contents)
    assert HEADER + found.SerializeToString(deterministic=True) == contents
    assert (len(found.keys), found.region, found.end_timestamp) == (count, "US", end)
    assert {len(key.key_data) for key in found.keys} == {16}
    assert all(1 <= key.rolling_period <= 144 for key in found.keys)


# --- ours -------------------------------------------------------------------------------------------------------------

ANY_KEY = st.builds(
    TemporaryExposureKey,
    st.binary(min_size=16, max_size=16),
    st.integers(TODAY - 13 * 144, TODAY - 160),
    st.integers(1, 144),
    st.integers(0, 8),
    st.sampled_from(ReportType),
    st.none() | st.integers(-14, 14),
)


@given(st.lists(ANY_KEY, max_size=20), st.lists(ANY_KEY, max_size=3))
def test_what_is_written_is_read_again_ordered_by_key(keys, revised):
    export = replace(EXPORT, keys=tuple(keys), revised=tuple(revised))
    again = read(write_export(export, SIGNER), exact=True)
    assert [one.key for one in again.keys] == sorted(one.key for one in keys)
    assert sorted(again.keys, key=repr_of) == sorted(keys, key=repr_of)
    assert sorted(again.revised, key=repr_of) == sorted(revised, key=repr_of)
    assert again.stale == 0


def repr_of(key: TemporaryExposureKey) -> str:
    return f"{key.key.hex()} {key} {key.transmission_risk} {key.report_type} {key.days_since_onset}"


def test_the_order_in_which_keys_came_does_not_show():
    backwards = replace(EXPORT, keys=EXPORT.keys[::-1])
    assert files_of(write_export(backwards, SIGNER))[0] == files_of(ARCHIVE)[0]


def test_no_changed_byte_of_an_archive_is_taken_for_ours():
    for at in range(len(ARCHIVE)):
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(ARCHIVE)
            changed[at] ^= mask
            turned_away(bytes(changed), exact=True)


def test_no_changed_byte_of_an_archive_changes_what_is_read():
    """Another zip program's archives are read too: there a date may differ, and never a key."""
    expected, taken = read(ARCHIVE), 0
    for at in range(len(ARCHIVE)):
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(ARCHIVE)
            changed[at] ^= mask
            try:
                assert read(bytes(changed)) == expected
                taken += 1
            except ExportRefused:
                pass
    assert taken < 3 * 150  # of the directory's 250 bytes


def test_no_changed_byte_of_contents_or_signatures_is_taken():
    for which, file in enumerate(files_of(ARCHIVE)):
        for at in range(len(file)):
            for mask in (0x01, 0x08, 0x80, 0xFF):
                changed = bytearray(file)
                changed[at] ^= mask
                files = list(files_of(ARCHIVE))
                files[which] = bytes(changed)
                turned_away(pack(*files))


def test_no_beginning_of_an_archive_is_taken():
    for length in range(len(ARCHIVE)):
        assert turned_away(ARCHIVE[:length]) is ExportReason.NO_ARCHIVE


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_junk_is_turned_away_with_a_reason(junk):
    turned_away(junk)
    turned_away(pack(junk, junk))
    turned_away(pack(HEADER + junk, files_of(ARCHIVE)[1]))


@given(st.binary(max_size=60))
def test_signed_junk_is_turned_away_or_read_but_never_crashes(junk):
    signatures = SignaturesMessage()
    contents = HEADER + message().SerializeToString() + junk
    signatures.signatures.add(signature_info=SIGNER.names, batch_num=1, batch_size=1, signature=SIGNER.sign(contents))
    with pytest.raises(ExportRefused):
        read(pack(contents, signatures.SerializeToString()))  # its contents do not name the signature


def test_a_key_that_somebody_still_shows_is_not_published():
    last = key_of(7, rolling_start=TODAY - 144 - CLOCK_SLACK_S // 600)
    assert len(read(write_export(replace(EXPORT, keys=(last,)), SIGNER)).keys) == 1
    for where in ("keys", "revised"):
        with pytest.raises(KeyStillInUse):
            write_export(replace(EXPORT, **{where: (replace(last, rolling_start=last.rolling_start + 1),)}), SIGNER)


@given(st.lists(ANY_KEY, max_size=5, unique_by=lambda key: key.key), st.integers(0, 30), st.integers(0, 5))
def test_padding_hides_how_few_there_are_among_keys_that_look_alike(keys, at_least, jitter):
    more = padded(keys, at_least, jitter)
    if not keys:
        assert more == []
        return
    assert more[: len(keys)] == keys
    assert max(len(keys), at_least) <= len(more) <= max(len(keys), at_least + jitter)
    assert len({key.key for key in more}) == len(more)
    assert {replace(key, key=bytes(16)) for key in more} == {replace(key, key=bytes(16)) for key in keys}


# --- guards -----------------------------------------------------------------------------------------------------------


def test_another_region_is_turned_away():
    assert turned_away(ARCHIVE, region="ID-JB") is ExportReason.WRONG_REGION


def test_another_name_or_version_of_the_key_is_turned_away():
    assert turned_away(ARCHIVE, replace(OURS, key_id="502")) is ExportReason.WRONG_KEY
    assert turned_away(ARCHIVE, replace(OURS, version="v2")) is ExportReason.WRONG_KEY
    assert turned_away(ARCHIVE, ()) is ExportReason.WRONG_KEY


def test_another_key_of_the_same_name_is_turned_away():
    assert turned_away(ARCHIVE, Signer.create("510").authority) is ExportReason.BAD_SIGNATURE


def test_while_a_key_is_replaced_either_signature_will_do():
    new = Signer.create("510", "v2")
    both = write_export(EXPORT, [SIGNER, new])
    for trusted in (OURS, new.authority, [OURS, new.authority]):
        assert read(both, trusted) == read(ARCHIVE)
    assert read(ARCHIVE, [new.authority, OURS]) == read(ARCHIVE)


def test_another_algorithm_is_not_taken_for_ours():
    made = message()
    made.signature_infos.add(**{**SIGNER.names, "signature_algorithm": "1.2.840.10045.4.3.4"})
    assert turned_away(signed(made)) is ExportReason.WRONG_KEY


def test_a_file_without_signatures_is_turned_away():
    contents, _ = files_of(ARCHIVE)
    assert turned_away(pack(contents, b"")) is ExportReason.UNSIGNED


def test_many_signatures_are_not_looked_at():
    contents, signatures = files_of(ARCHIVE)
    assert turned_away(pack(contents, signatures * 11)) is ExportReason.TOO_LARGE


@pytest.mark.parametrize("batch", [(1, 2), (2, 2), (0, 0)])
def test_one_of_several_files_is_turned_away(batch):
    assert turned_away(signed(message(batch_num=batch[0], batch_size=batch[1]))) is ExportReason.SEVERAL_BATCHES
    assert turned_away(signed(message(), batch=batch)) is ExportReason.SEVERAL_BATCHES


def test_an_export_is_good_for_two_weeks_and_not_before_its_time():
    end = EXPORT.ends_at
    assert read(ARCHIVE, now=end - CLOCK_SLACK_S).region == "ID-JT"
    assert turned_away(ARCHIVE, now=end - CLOCK_SLACK_S - 1) is ExportReason.NOT_YET
    assert read(ARCHIVE, now=end + KEPT_S).region == "ID-JT"
    assert turned_away(ARCHIVE, now=end + KEPT_S + 1) is ExportReason.EXPIRED


def test_keys_that_can_meet_nothing_any_more_are_left_out_and_counted():
    old, young = key_of(1, days_ago=9), key_of(2, days_ago=1)
    archive = write_export(replace(EXPORT, keys=(old, young)), SIGNER)
    later = read(archive, now=NOW + 7 * 86400)
    assert (later.keys, later.stale) == ((young,), 1)


def test_a_time_that_does_not_pass_is_malformed():
    assert turned_away(signed(message(start_timestamp=NOW))) is ExportReason.MALFORMED


def test_too_many_keys_are_turned_away():
    assert turned_away(ARCHIVE, max_keys=2) is ExportReason.TOO_MANY_KEYS
    assert len(read(ARCHIVE, max_keys=3).keys) == 3


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_key_of_another_length_is_turned_away(size):
    assert turned_away(signed(message_with(key_data=bytes(size)))) is ExportReason.KEY_LENGTH


@pytest.mark.parametrize("period", [-1, 0, 145, 2**31 - 1])
def test_an_impossible_rolling_period_is_turned_away(period):
    assert turned_away(signed(message_with(rolling_period=period))) is ExportReason.ROLLING_PERIOD


def test_a_rolling_period_that_is_not_said_is_a_day():
    assert read(signed(message_with())).keys[0].rolling_period == 144


@pytest.mark.parametrize("start", [-1, -(2**31), 0, TODAY - 40 * 144, TODAY + 1, 2**31 - 1])
def test_a_key_that_starts_in_the_future_or_long_ago_is_turned_away(start):
    assert turned_away(signed(message_with(rolling_start_interval_number=start))) is ExportReason.KEY_START


@pytest.mark.parametrize(
    "values",
    [{"transmission_risk_level": 9}, {"transmission_risk_level": -1}, {"days_since_onset_of_symptoms": 15}],
)
def test_values_out_of_range_are_turned_away(values):
    assert turned_away(signed(message_with(**values))) is ExportReason.KEY_VALUES


def test_another_header_is_malformed():
    assert turned_away(signed(message(), header=b"EK Export v2    ")) is ExportReason.MALFORMED


def test_a_region_that_is_no_text_is_malformed():
    made = message()
    made.signature_infos.add(**SIGNER.names)
    contents = HEADER + made.SerializeToString().replace(b"ID-JT", b"ID-J\xff")
    signatures = SignaturesMessage()
    signatures.signatures.add(signature_info=SIGNER.names, batch_num=1, batch_size=1, signature=SIGNER.sign(contents))
    assert turned_away(pack(contents, signatures.SerializeToString())) is ExportReason.MALFORMED


def test_a_refusal_shows_no_key():
    secret = b"a secret key ..."
    archive = signed(message_with(key_data=secret, rolling_period=0))
    with pytest.raises(ExportRefused) as why:
        read(archive)
    assert "secret" not in str(why.value)
    assert secret.hex() not in str(why.value)


# --- archives ---------------------------------------------------------------------------------------------------------


def packed_by(write, compression=zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as packed:
        write(packed)
    return archive.getvalue()


def test_another_zip_programs_archive_is_read_unless_exactness_is_asked_for():
    contents, signatures = files_of(ARCHIVE)

    def write(packed):
        packed.writestr(SIGNATURES, signatures)
        packed.writestr(CONTENTS, contents)

    archive = packed_by(write)
    assert read(archive) == read(ARCHIVE)
    assert turned_away(archive, exact=True) is ExportReason.NOT_EXACT


def test_a_bomb_is_not_unpacked():
    """A kilobyte for each megabyte: said openly, and with its size falsified."""

    def write(packed):
        packed.writestr(CONTENTS, bytes(50_000_000))
        packed.writestr(SIGNATURES, b"")

    archive = packed_by(write)
    assert len(archive) < 100_000
    assert turned_away(archive) is ExportReason.TOO_LARGE
    lying = archive.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 1000))
    assert lying != archive
    assert turned_away(lying) is ExportReason.NO_ARCHIVE


def test_a_large_signature_file_is_not_unpacked():
    assert turned_away(pack(files_of(ARCHIVE)[0], bytes(64 * 1024 + 1))) is ExportReason.TOO_LARGE


def test_an_archive_larger_than_an_export_is_not_opened():
    assert turned_away(bytes(12_000_000)) is ExportReason.TOO_LARGE


@pytest.mark.parametrize(
    "names", [[CONTENTS], [SIGNATURES], [CONTENTS, SIGNATURES, "more"], ["../export.bin", SIGNATURES]]
)
def test_an_archive_of_other_files_is_turned_away(names):
    archive = packed_by(lambda packed: [packed.writestr(name, b"") for name in names])
    assert turned_away(archive) is ExportReason.NO_ARCHIVE


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_one_file_twice_is_turned_away():
    names = (CONTENTS, CONTENTS, SIGNATURES)
    assert turned_away(packed_by(lambda p: [p.writestr(name, b"") for name in names])) is ExportReason.NO_ARCHIVE


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_turned_away(compression):
    archive = packed_by(lambda p: [p.writestr(n, b"x") for n in (CONTENTS, SIGNATURES)], compression)
    assert turned_away(archive) is ExportReason.NO_ARCHIVE


# --- signing keys -----------------------------------------------------------------------------------------------------


def private_pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_keys_are_read_from_pem_files():
    signer = Signer.of_pem(private_pem(SIGNER.private_key), "510")
    trusted = Authority.of_pem(public_pem(SIGNER.private_key), "510")
    assert read(write_export(EXPORT, signer), trusted) == read(ARCHIVE)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_keys_of_another_kind_are_refused(key):
    with pytest.raises(BadSigningKey, match="P-256"):
        Signer.of_pem(private_pem(key), "510")
    with pytest.raises(BadSigningKey, match="P-256"):
        Authority.of_pem(public_pem(key), "510")


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_named(pem):
    with pytest.raises(BadSigningKey, match="PEM"):
        Authority.of_pem(pem, "510")
    with pytest.raises(BadSigningKey, match="PEM"):
        Signer.of_pem(pem, "510")


def test_a_signer_without_a_name_and_an_export_without_a_signer_are_not_made():
    with pytest.raises(BadSigningKey, match="name"):
        Signer(SIGNER.private_key, "")
    with pytest.raises(ValueError, match="give a signer"):
        write_export(EXPORT, [])
