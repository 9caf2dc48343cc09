"""Topics: the list of what exists, taken apart and put together again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from privacy.boundary import topics
from privacy.boundary.messages import Kind
from privacy.boundary.topics import Address

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/+#\0"), min_size=1, max_size=20)
RUNS = st.integers(0, 2**64 - 1)


@given(NAMES)
def test_a_party_s_topics_are_taken_apart_into_kind_and_party(party):
    assert topics.parse(topics.presence(party)) == Address(Kind.PRESENCE, party)
    assert topics.parse(topics.task(party)) == Address(Kind.TASK, party)
    assert topics.parse(topics.reply(party)) == Address(Kind.REPLY, party)
    assert topics.parse(topics.case(party)) == Address(Kind.CASE, party)
    assert topics.parse(topics.sum_request(party)) == Address(Kind.SUM, party)
    assert topics.parse(topics.sum_share(party)) == Address(Kind.SHARE, party)


@given(st.binary(min_size=32, max_size=32))
def test_a_blob_s_topic_is_its_hash(digest):
    assert topics.parse(topics.blob(digest)) == Address(Kind.BLOB, digest.hex())


@given(RUNS, NAMES)
def test_a_claim_belongs_to_its_run(run_id, instance):
    assert topics.parse(topics.claim(run_id, instance)) == Address(Kind.CLAIM, f"{run_id:016x}")
    assert topic_matches_sub(topics.claims(run_id), topics.claim(run_id, instance))


@given(RUNS, RUNS)
def test_claims_on_one_run_are_not_heard_on_another(mine, other):
    matches = topic_matches_sub(topics.claims(mine), topics.claim(other, "x"))
    assert matches is (mine == other)


@given(NAMES, NAMES)
def test_a_batch_of_keys_belongs_to_its_region(region, batch):
    assert topics.parse(topics.keys(region, batch)) == Address(Kind.KEYS, region)
    assert topic_matches_sub(topics.keys_of(region), topics.keys(region, batch))
    assert not topic_matches_sub(topics.keys_of(region + "x"), topics.keys(region, batch))


@given(NAMES)
def test_the_health_authority_s_filter_matches_every_case_and_no_other_kind(party):
    assert topic_matches_sub(topics.ALL_CASES, topics.case(party))
    assert not topic_matches_sub(topics.ALL_CASES, topics.reply(party))


@given(NAMES)
def test_the_centre_s_filters_match_every_party_and_no_other_kind(party):
    assert topic_matches_sub(topics.ALL_REPLIES, topics.reply(party))
    assert topic_matches_sub(topics.ALL_PRESENCE, topics.presence(party))
    assert not topic_matches_sub(topics.ALL_REPLIES, topics.task(party))
    assert not topic_matches_sub(topics.ALL_PRESENCE, topics.reply(party))


@given(st.text(max_size=40) | st.lists(st.sampled_from(["jaga", "1", "", "task", "claim", "x"])).map("/".join))
def test_a_topic_is_ours_only_if_it_can_be_put_together_again(topic):
    address = topics.parse(topic)
    if address is not None:
        rest = topic.removeprefix(f"jaga/1/{address.kind}/{address.owner}")
        assert rest == "" if address.kind not in (Kind.CLAIM, Kind.KEYS) else rest.count("/") == 1
        assert address.owner


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        "jaga/1",
        "jaga/1/",
        "jaga/1/task",
        "jaga/1/task/",
        "jaga/1/task//",
        "jaga/1/task/a/b",
        "jaga/1/task/a/",
        "jaga/1/TASK/a",
        "jaga/1/raw/a",
        "jaga/2/task/a",
        "jaga/1/claim/0000000000000001",
        "jaga/1/claim/0000000000000001/",
        "jaga/1/claim//x",
        "jaga/1/case/a/b",
        "jaga/1/keys/ID-JK",
        "jaga/1/keys/ID-JK/1/2",
        "jaga/1/claim/0000000000000001/x/y",
        "x/jaga/1/task/a",
        "jaga/1/jaga/1/task/a",
        "/jaga/1/task/a",
        "$SYS/broker/uptime",
        "task/a",
    ],
)
def test_what_is_none_of_ours_is_nothing(topic):
    assert topics.parse(topic) is None
