"""Where the store's key comes from: each source for real where it can be, and what is said where it does not give
it."""

import json
import secrets
import shutil
import stat
import subprocess

import pytest
import tang_server
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.cli import app
from edge.config import NodeConfig
from edge.keys import sources
from edge.keys.sources import KeyFile, KeyUnavailable, Passphrase, RpiOtp, SystemdCredential, Tang
from edge.keys.wrapped import StoreKeys, WrappedKey
from edge.store.database import Database
from privacy.identity.secret import Secret

WORDS = Secret(b"rumah kopi hujan sepeda")
QUICK = {"memory_kib": 64, "iterations": 1}


@pytest.fixture
def folder(tmp_path):
    """A node's folder, its key in a plain file."""
    (tmp_path / "store.key").write_text(secrets.token_hex(32))
    (tmp_path / "node.toml").write_text('name = "SDN 1"\n')
    loaded = NodeConfig.load(tmp_path / "node.toml")
    Database(loaded.store.path, loaded.store_key()).connect().close()
    return tmp_path


def typed(*arguments):
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def opens(folder):
    loaded = NodeConfig.load(folder / "node.toml")
    Database(loaded.store.path, loaded.store_key()).connect().close()


def tool(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@given(
    st.binary(min_size=32, max_size=32).map(Secret),
    st.binary(min_size=32, max_size=32).map(Secret),
    st.none() | st.binary(min_size=32, max_size=32).map(Secret),
)
def test_what_was_wrapped_comes_out_and_only_with_the_same_key(tmp_path_factory, given, key, following):
    wrapped = WrappedKey(tmp_path_factory.mktemp("keys") / "store.key.json")
    wrapped.write(Passphrase(bytes(32)), given, StoreKeys(key, following))
    assert wrapped.open(given) == StoreKeys(key, following)
    assert key.reveal() not in wrapped.path.read_bytes()
    with pytest.raises(KeyUnavailable, match="another machine"):
        wrapped.open(Secret(bytes([given.reveal()[0] ^ 1]) + given.reveal()[1:]))


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"version":1}', b'{"version":9,"source":{"source":"file","path":"x"},"key":"AA=="}'],
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "store.key.json").write_bytes(content)
    with pytest.raises(KeyUnavailable, match=r"store\.key\.json"):
        WrappedKey(tmp_path / "store.key.json").open(Secret(bytes(32)))


def test_two_halves_of_a_rotation_cannot_be_exchanged(tmp_path):
    wrapped = WrappedKey(tmp_path / "w")
    wrapped.write(Passphrase(bytes(32)), Secret(bytes(32)), StoreKeys(Secret(b"a" * 32), Secret(b"b" * 32)))
    text = wrapped.path.read_text()
    turned = json.loads(text)
    turned["key"], turned["next"] = turned["next"], turned["key"]
    wrapped.path.write_text(json.dumps(turned))
    with pytest.raises(KeyUnavailable):
        wrapped.open(Secret(bytes(32)))


def test_a_key_file_gives_the_same_each_time_and_is_missed_with_a_word(tmp_path):
    source = KeyFile.make(tmp_path / "k")
    assert source.key() == source.key()
    assert (tmp_path / "k").stat().st_mode & 0o077 == 0
    with pytest.raises(KeyUnavailable, match="there already"):
        KeyFile.make(tmp_path / "k")
    (tmp_path / "k").unlink()
    with pytest.raises(KeyUnavailable, match="restore it"):
        source.key()


def test_words_give_the_same_key_and_others_another():
    source = Passphrase(b"s" * 32, **QUICK)
    assert source.key_of(WORDS) == source.key_of(WORDS) != source.key_of(Secret(WORDS.reveal() + b" "))
    assert Passphrase(b"t" * 32, **QUICK).key_of(WORDS) != source.key_of(WORDS)
    with pytest.raises(KeyUnavailable, match="at least 12"):
        Passphrase.make(Secret(b"kopi"))


def test_nobody_to_ask_is_said(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(KeyUnavailable, match="at a terminal"):
        sources.ask("?")


def test_a_credential_of_the_service_is_read_where_systemd_puts_it(tmp_path, monkeypatch):
    source = SystemdCredential("jaga-store")
    with pytest.raises(KeyUnavailable, match="LoadCredentialEncrypted=jaga-store"):
        source.key()
    (tmp_path / "jaga-store").write_bytes(b"a" * 64 + b"\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert len(source.key()) == 32
    (tmp_path / "jaga-store").write_bytes(b"short")
    with pytest.raises(KeyUnavailable, match="too short"):
        source.key()


def has_host_key():
    made = subprocess.run(
        ["systemd-creds", "encrypt", "--name=x", "-", "-"], input=b"x", capture_output=True, check=False
    )
    return made.returncode == 0


@pytest.mark.system
def test_systemd_itself_encrypts_and_decrypts_the_credential(tmp_path):
    if shutil.which("systemd-creds") is None or not has_host_key():
        pytest.skip("systemd-creds cannot encrypt on this machine")
    source = SystemdCredential.make("jaga-store", tmp_path / "jaga.cred")
    assert source.key() == source.key()
    (tmp_path / "jaga.cred").write_bytes(b"x")
    with pytest.raises(KeyUnavailable, match="systemd-creds decrypt failed"):
        source.key()


def test_a_stand_in_for_the_pi_s_otp_program_is_read_strictly(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(KeyUnavailable, match="not installed: sudo apt-get install rpi-eeprom"):
        RpiOtp.make()
    tool(tmp_path, "rpi-otp-private-key", f"echo {'ab' * 32}")
    source = RpiOtp.make()
    assert source.key() == source.key()
    assert RpiOtp.make().key() != source.key()  # another store, another salt
    for script, word in (
        (f"echo {'00' * 32}", "no key in its OTP"),
        ("echo hello", "not 64"),
        ("echo 'vcmailbox: no device' >&2; exit 1", "no device"),
    ):
        tool(tmp_path, "rpi-otp-private-key", script)
        with pytest.raises(KeyUnavailable, match=word):
            RpiOtp.make()


def test_what_the_file_says_of_its_source_cannot_be_edited(tmp_path):
    wrapped = WrappedKey(tmp_path / "w")
    wrapped.write(Passphrase(bytes(32), **QUICK), Secret(bytes(32)), StoreKeys(Secret(b"a" * 32)))
    edited = json.loads(wrapped.path.read_text())
    edited["source"]["iterations"] = 2
    wrapped.path.write_text(json.dumps(edited))
    with pytest.raises(KeyUnavailable):
        wrapped.open(Secret(bytes(32)))


@pytest.fixture
def tang(tmp_path):
    if tang_server.MISSING or shutil.which("clevis") is None:
        pytest.skip("tang and clevis are not installed")
    server = tang_server.TangServer(tmp_path / "tang")
    yield server
    server.close()


@pytest.mark.system
def test_a_real_tang_server_gives_the_secret_back_and_away_from_it_there_is_none(tang, tmp_path):
    source = Tang.make(tang.url, tang.thumbprint())
    assert source.key() == source.key()
    assert Tang.make(tang.url, None).key() != source.key()
    other = tang_server.TangServer(tmp_path / "other")
    with pytest.raises(KeyUnavailable, match="clevis encrypt failed"):
        Tang.make(tang.url, other.thumbprint())
    other.close()
    tang.close()
    with pytest.raises(KeyUnavailable, match="clevis decrypt"):
        source.key()


def test_an_address_that_is_none_is_refused():
    with pytest.raises(KeyUnavailable, match="no address"):
        Tang.make('http://x"; rm -rf /', None)


def test_show_and_change_keep_the_store_open_with_the_same_key(folder, monkeypatch):
    before = NodeConfig.load(folder / "node.toml").store_key()
    assert "plain file" in typed("show", folder / "node.toml").output
    result = typed("change", folder / "node.toml", "--to", "file")
    assert result.exit_code == 0, result.output
    assert not (folder / "store.key").exists()
    assert NodeConfig.load(folder / "node.toml").store_key() == before
    monkeypatch.setattr("edge.commands.keys.ask", lambda _: WORDS)
    monkeypatch.setattr(sources, "ask", lambda _: WORDS)
    monkeypatch.setattr(sources, "MEMORY_KIB", 64)
    assert typed("change", folder / "node.toml", "--to", "passphrase").exit_code == 0
    assert NodeConfig.load(folder / "node.toml").store_key() == before
    assert "passphrase" in typed("show", folder / "node.toml").output
    opens(folder)


def test_a_change_that_fails_changes_nothing(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    before = (folder / "store.key").read_text()
    result = typed("change", folder / "node.toml", "--to", "rpi-otp")
    assert result.exit_code == 4
    assert (folder / "store.key").read_text() == before
    assert not (folder / "store.key.json").exists()
    opens(folder)


def test_a_rotation_without_a_source_says_what_to_do_first(folder):
    result = typed("rotate", folder / "node.toml")
    assert result.exit_code == 4
    assert not (folder / "store.key.json").exists()
