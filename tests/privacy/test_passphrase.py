"""The authority's key under a passphrase."""

import shutil
import subprocess

import pytest

from privacy.identity.authority import CertificateAuthority
from privacy.identity.keys import BadKey

WORDS = b"correct horse battery staple"


def test_an_encrypted_key_opens_with_its_passphrase_alone(tmp_path):
    made = CertificateAuthority.create("ours")
    made.save(tmp_path, WORDS)
    assert CertificateAuthority.load(tmp_path, WORDS).key.private_bytes_raw() == made.key.private_bytes_raw()
    with pytest.raises(BadKey, match="there is no passphrase"):
        CertificateAuthority.load(tmp_path)
    with pytest.raises(BadKey, match="Incorrect password"):
        CertificateAuthority.load(tmp_path, b"correct horse battery stable")


def test_the_file_is_the_owners_and_does_not_hold_the_key(tmp_path):
    made = CertificateAuthority.create("ours")
    made.save(tmp_path, WORDS)
    file = tmp_path / "authority.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in file.read_bytes()
    assert made.key.private_bytes_raw() not in file.read_bytes()


def test_a_key_from_before_loads_without_a_passphrase(tmp_path):
    CertificateAuthority.create("ours").save(tmp_path)
    assert CertificateAuthority.load(tmp_path, WORDS).anchor.federation == "ours"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")
def test_openssl_reads_the_key_and_says_that_it_is_scrypt(tmp_path):
    CertificateAuthority.create("ours").save(tmp_path, WORDS)
    (tmp_path / "words").write_bytes(WORDS)
    key = str(tmp_path / "authority.key")
    command = ["openssl", "pkey", "-in", key, "-passin", f"file:{tmp_path / 'words'}", "-noout"]
    subprocess.run(command, check=True, timeout=60)
    parsed = subprocess.run(
        ["openssl", "asn1parse", "-in", key], capture_output=True, text=True, check=True, timeout=60
    )
    assert "scrypt" in parsed.stdout
    assert "aes-256-cbc" in parsed.stdout
