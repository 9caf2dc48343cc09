"""The broker's configuration files: complete as shipped, and changed by programs without surprises."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_config.mosquitto import UnknownSetting, read, render

SETTINGS = [line.split(" ")[0] for line in read("mosquitto.conf").splitlines() if re.match("[a-z]", line)]
ONCE = sorted({name for name in SETTINGS if SETTINGS.count(name) == 1})
ONE_LINE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


def settings(conf: str) -> list[tuple[str, str]]:
    lines = (line for line in conf.splitlines() if line and not line.startswith("#"))
    return [(name, value) for name, _, value in (line.partition(" ") for line in lines)]


@given(st.dictionaries(st.sampled_from(ONCE), ONE_LINE, max_size=5))
def test_rendering_changes_the_named_settings_and_nothing_else(changes):
    before, after = settings(render().conf), settings(render(settings=changes).conf)
    assert after == [(name, changes.get(name, value)) for name, value in before]


@pytest.mark.parametrize("name", ["max_queud_bytes", "log_type", "#crlfile", ""])
def test_a_setting_that_is_not_there_exactly_once_is_refused(name):
    with pytest.raises(UnknownSetting, match="must have one"):
        render(settings={name: "1"})


@pytest.mark.parametrize("value", ["", "false\nallow_anonymous true"])
def test_a_value_cannot_smuggle_in_a_second_setting(value):
    with pytest.raises(ValueError, match="one line"):
        render(settings={"persistence": value})


def test_the_file_as_shipped_lets_nobody_in_without_a_certificate():
    shipped = dict(settings(read("mosquitto.conf")))
    assert shipped["require_certificate"] == "true"
    assert shipped["use_identity_as_username"] == "true"
    assert shipped["allow_anonymous"] == "false"
    assert shipped["tls_version"] == "tlsv1.3"
    assert shipped["listener"] == "8883 0.0.0.0"
    assert "crlfile" not in shipped


def test_the_observer_can_read_everything_only_where_it_was_asked_for():
    assert "#\n" not in "".join(line + "\n" for line in render().acl.splitlines() if line.startswith("topic read #"))
    assert "observer" not in render().acl
    assert render(observer=True).acl.endswith("user observer\ntopic read #\n")


def test_a_revocation_list_and_an_address_are_put_in(tmp_path):
    rendered = dict(settings(render(port=1234, bind="127.0.0.1", crl=tmp_path / "crl.pem").conf))
    assert rendered["listener"] == "1234 127.0.0.1"
    assert rendered["crlfile"] == str(tmp_path / "crl.pem")


def test_both_files_are_written_side_by_side(tmp_path):
    conf = render().write(tmp_path)
    assert conf.read_text() == read("mosquitto.conf")
    assert (tmp_path / "jaga.acl").read_text() == read("jaga.acl")
