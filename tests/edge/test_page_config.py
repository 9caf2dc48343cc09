"""Where the page may listen, what its process is told, and its certificate."""

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from typer.testing import CliRunner

from edge.cli import app
from edge.config import BadConfig, NodeConfig
from edge.page.address import BadListen, Listen, own_addresses, own_names
from edge.page.certificate import BadCertificate, check_pair, fingerprint
from edge.page.child import page_settings
from edge.page.settings import BadSettings, read_settings
from edge.settings_line import encode
from privacy.identity.secret import Secret

KEY = Secret(bytes(range(32)))
TLS = 'tls_certificate = "page.crt"\ntls_key = "page.key"\n'


@pytest.fixture
def load(tmp_path):
    def load(page):
        file = tmp_path / "node.toml"
        file.write_text(f'name = "SDN 1 Menteng"\n[page]\n{page}')
        return NodeConfig.load(file)

    return load


def test_without_a_word_it_is_on_this_machine_alone_in_jakartas_time(load):
    settings = page_settings(load(""), KEY)
    assert Listen.parse(settings.listen).loopback
    assert (settings.tls, settings.timezone, settings.language) == (False, "Asia/Jakarta", "id")


@pytest.mark.parametrize("listen", ["192.168.1.20:8443", "0.0.0.0:8443", "[fd00::20]:8443", "10.0.0.1:1"])
def test_others_reach_it_over_tls_alone(load, listen):
    with pytest.raises(BadConfig, match=r"passwords would cross the network in clear.*--make-certificate"):
        load(f'listen = "{listen}"')
    assert page_settings(load(f'listen = "{listen}"\n{TLS}'), KEY).tls


@pytest.mark.parametrize(
    "listen", ["8.8.8.8:443", "[2001:4860:4860::8888]:443", "[::ffff:8.8.8.8]:443", "224.0.0.1:443"]
)
def test_a_public_address_is_refused_with_tls_too(load, listen):
    with pytest.raises(BadConfig, match="whole internet"):
        load(f'listen = "{listen}"\n{TLS}')


@pytest.mark.parametrize("listen", ["", "8443", "jaga.local:8443", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":1"])
def test_what_is_no_address_says_how_one_is_written(listen):
    with pytest.raises(BadListen, match=r"192\.168\.1\.20:8443"):
        Listen.parse(listen)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('tls_certificate = "page.crt"', "come together"),
        ('timezone = "Asia/Atlantis"', "Asia/Jayapura"),
        ('timezone = "../etc/passwd"', "no time zone"),
        ('language = "nl"', "page.language"),
        ("idle_minutes = 0", "page.idle_minutes"),
        ("session_hours = 25", "page.session_hours"),
        ("colour = 1", "page.colour"),
    ],
)
def test_a_wrong_value_is_named(load, page, said):
    with pytest.raises(BadConfig, match=said):
        load(page)


def test_paths_are_relative_to_the_file(load, tmp_path):
    settings = page_settings(load(TLS), KEY)
    assert settings.certificate == str(tmp_path / "page.crt")
    assert settings.private_key == str(tmp_path / "page.key")


def test_the_settings_survive_their_way_to_the_process(load):
    settings = page_settings(load('hosts = ["jaga.sekolah.id"]\nidle_minutes = 5\ntimezone = "Asia/Makassar"'), KEY)
    assert read_settings(encode(settings)) == settings
    assert (settings.idle_s, settings.hosts, settings.timezone) == (300, ["jaga.sekolah.id"], "Asia/Makassar")


SETTINGS = {"database": "node.db", "key": "ab" * 32, "site": "a site"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"key": "no secret of mine"}, "hexadecimal digits"),
        ({"listen": "192.168.1.2:80"}, "needs a certificate"),
        ({"listen": "8.8.8.8:80"}, "whole internet"),
        ({"certificate": "page.crt"}, "come together"),
        ({"volume": 11}, "volume"),
        ({"site": None}, "site"),
    ],
)
def test_bad_settings_name_the_field_and_never_the_key(change, complaint):
    with pytest.raises(BadSettings, match=complaint) as raised:
        read_settings(json.dumps(SETTINGS | change))
    assert "secret" not in str(raised.value)
    assert "abab" not in str(raised.value)


def make_certificate(tmp_path, listen="0.0.0.0:8443"):
    file = tmp_path / "node.toml"
    file.write_text(f'name = "x"\n[page]\nlisten = "{listen}"\nhosts = ["jaga.sekolah.id"]\n{TLS}')
    return CliRunner().invoke(app, ["page", str(file), "--make-certificate"], env={"COLUMNS": "300"})


def test_a_certificate_is_made_for_all_names_and_private_addresses_and_its_fingerprint_shown(tmp_path):
    done = make_certificate(tmp_path, "192.168.7.20:8443")
    assert done.exit_code == 0, done.output
    made = x509.load_pem_x509_certificate((tmp_path / "page.crt").read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {*own_names(), "jaga.sekolah.id"}
    assert "192.168.7.20" in map(str, names.get_values_for_type(x509.IPAddress))
    assert set(own_addresses()) <= set(names.get_values_for_type(x509.IPAddress))
    assert all(address.is_private for address in names.get_values_for_type(x509.IPAddress))
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days < 825
    assert fingerprint(tmp_path / "page.crt") == made.fingerprint(hashes.SHA256()).hex(":").upper()
    assert fingerprint(tmp_path / "page.crt") in done.output


def test_the_certificate_and_its_key_serve_and_the_key_is_the_owners_alone(tmp_path):
    make_certificate(tmp_path)
    check_pair(tmp_path / "page.crt", tmp_path / "page.key")
    assert (tmp_path / "page.key").stat().st_mode & 0o077 == 0


def test_a_certificate_that_staff_know_is_never_overwritten(tmp_path):
    make_certificate(tmp_path)
    before = (tmp_path / "page.key").read_bytes()
    done = make_certificate(tmp_path)
    assert (done.exit_code, "is there already" in done.output) == (4, True)
    assert (tmp_path / "page.key").read_bytes() == before


def test_a_key_of_another_certificate_is_found_before_anybody_connects(tmp_path):
    make_certificate(tmp_path)
    (tmp_path / "other.crt").write_bytes((tmp_path / "page.crt").read_bytes())
    (tmp_path / "page.crt").unlink()
    (tmp_path / "page.key").unlink()
    make_certificate(tmp_path)
    with pytest.raises(BadCertificate, match="--make-certificate"):
        check_pair(tmp_path / "other.crt", tmp_path / "page.key")


def test_without_a_named_certificate_there_is_nothing_to_make(tmp_path):
    file = tmp_path / "node.toml"
    file.write_text('name = "x"\n')
    done = CliRunner().invoke(app, ["page", str(file), "--make-certificate"], env={"COLUMNS": "300"})
    assert (done.exit_code, 'tls_certificate = "page.crt"' in done.output) == (3, True)
