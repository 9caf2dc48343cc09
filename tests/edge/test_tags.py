"""The register of tags."""

import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.tags import BadLabel, BadSecret, KnownLabel, Tags, UnknownLabel, checked_label

SECRET = bytes(range(32))


def test_a_tag_that_is_added_is_listed_by_label(connection):
    tags = Tags(connection)
    tags.add("tag-07", now=5)
    tags.add("anggrek", now=6, secret=SECRET)
    assert [(tag.label, tag.enrolled_at) for tag in tags] == [("anggrek", 6.0), ("tag-07", 5.0)]
    assert tags.get("anggrek").secret == SECRET


def test_every_tag_gets_a_secret_of_its_own(connection):
    tags = Tags(connection)
    made = {tags.add(f"tag-{number}", now=0).secret for number in range(5)}
    assert {len(secret) for secret in made} == {32}
    assert len(made) == 5


def test_a_secret_is_not_shown(connection):
    tag = Tags(connection).add("tag-07", now=0, secret=SECRET)
    assert SECRET.hex() not in repr(tag)
    assert repr(SECRET) not in repr(tag)


def test_a_label_and_a_secret_are_given_once(connection):
    tags = Tags(connection)
    tags.add("tag-07", now=0, secret=SECRET)
    with pytest.raises(KnownLabel, match="choose another label"):
        tags.add(" tag-07 ", now=0)
    with pytest.raises(BadSecret, match="tag 'tag-07' has that secret already"):
        tags.add("tag-08", now=0, secret=SECRET)
    with pytest.raises(BadSecret, match="has 32 bytes"):
        tags.add("tag-08", now=0, secret=SECRET[:31])
    assert [tag.label for tag in tags] == ["tag-07"]


def test_an_unknown_label_is_answered_with_similar_ones(connection):
    tags = Tags(connection)
    for label in ("tag-07", "Tag-17", "anggrek"):
        tags.add(label, now=0)
    with pytest.raises(UnknownLabel, match=r"did you mean .*'tag-07'"):
        tags.get("TAG-7")
    with pytest.raises(UnknownLabel, match="see `jaga-node tags list`"):
        tags.remove("zzzzzz")


def test_a_tag_that_is_removed_is_gone(connection):
    tags = Tags(connection)
    tags.add("tag-07", now=0)
    tags.remove("tag-07")
    assert list(tags) == []


@pytest.mark.parametrize(
    "label",
    [
        "3174012309870001",
        "3174 0123 0987 0001",
        "31.74.01.230987.0001",
        "NIK 3174012309870001",
        "nik3174012309870001x",
        "0051234567",
        "+62 812-3456-7890",
    ],
)
def test_a_number_of_a_person_is_refused_in_both_languages(label):
    with pytest.raises(BadLabel, match=r"looks like a NIK.* / label itu tampak seperti NIK"):
        checked_label(label)


def test_an_address_is_refused_in_both_languages():
    with pytest.raises(BadLabel, match=r"looks like an e-mail address.* / label itu tampak seperti alamat surel"):
        checked_label("siti@sekolah.example")


@pytest.mark.parametrize("label", ["", "   ", "x" * 65, "a\nb", "a\x1b[31m"])
def test_a_label_that_cannot_be_printed_is_refused(label):
    with pytest.raises(BadLabel, match="1 to 64 printable"):
        checked_label(label)


@pytest.mark.parametrize("label", ["tag-07", "kelas 4B no. 12", "burung enggang", "2024-07", "tag 123456789"])
def test_pseudonyms_are_taken(label):
    assert checked_label(f" {label} ") == label


@given(st.text(st.characters(codec="utf-8"), max_size=70))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_whatever_is_taken_comes_back_and_whatever_is_refused_leaves_nothing(connection, label):
    tags = Tags(connection)
    connection.execute("DELETE FROM tags")
    try:
        added = tags.add(label, now=1, secret=secrets.token_bytes(32))
    except BadLabel:
        assert list(tags) == []
    else:
        assert list(tags) == [added]
        assert tags.get(label) == added
