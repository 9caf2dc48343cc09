"""A helper whose database is put back from a backup does not answer for all nodes but one."""

import secrets

import pytest
from draws_double import LeaderDouble

from aggregator.helper.anchor import HelperAnchor, HelperRolledBack
from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords, JournalRow
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import HELPER_PARTY, Role, node_party
from privacy.secure_sum.exchange import SumRefusal
from privacy.secure_sum.seeds import key_digest

OURS = CertificateAuthority.create("ours")
NODES = [OURS.enrol(node_party(n), Role.NODE) for n in range(2, 8)]
HELPER = OURS.enrol(HELPER_PARTY, Role.HELPER)
KNOWN = {node.party: node.certificate for node in NODES}
RUN = 7


class Store:
    """A helper's database that can be backed up and put back."""

    def __init__(self, url, folder, server=None):
        self.url, self.folder, self.server = url, folder, server
        self.records = HelperRecords(url)
        for node in NODES:
            self.records.approve(node.party, 1.0, key_digest(node.certificate))

    def back_up(self):
        self.records.close()
        if self.server is None:
            (self.folder / "backup").write_bytes((self.folder / "helper.db").read_bytes())
        else:
            self._copy(self.name, f"{self.name}_backup")
        self.records = HelperRecords(self.url)

    def restore(self):
        self.records.close()
        if self.server is None:
            for file in self.folder.glob("helper.db*"):
                file.unlink()
            (self.folder / "helper.db").write_bytes((self.folder / "backup").read_bytes())
        else:
            self._copy(f"{self.name}_backup", self.name)
        self.records = HelperRecords(self.url)
        return self.records

    @property
    def name(self):
        return self.url.split("?")[0].rsplit("/", 1)[1]

    def _copy(self, source, target):
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {target}")
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {source}")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def store(request, tmp_path):
    if request.param == "sqlite":
        made = Store(f"sqlite:///{tmp_path / 'helper.db'}", tmp_path)
    else:
        import psycopg

        server = request.getfixturevalue("postgresql")
        name = f"jaga_helper_{secrets.token_hex(6)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        made = Store(server.replace("/postgres?", f"/{name}?"), tmp_path, server)
    yield made
    made.records.close()


def desk_of(store, anchor=None):
    return HelperDesk(HELPER.keys, "ours", store.records, KNOWN.get, 3, anchor=anchor)


def leader_of(desk):
    return LeaderDouble(lambda asked: desk.draw(RUN, asked), HELPER, "ours", RUN)


@pytest.mark.parametrize("drawn_before", [True, False])
def test_a_database_put_back_is_refused_at_the_start(store, tmp_path, drawn_before):
    anchor = HelperAnchor(tmp_path / "helper.anchor")
    anchor.check(store.records)
    leader = leader_of(desk_of(store, anchor))
    if drawn_before:
        leader.draw(NODES)
    store.back_up()
    desk = desk_of(store, anchor)
    leader._draw = lambda asked: desk.draw(RUN, asked)
    if not drawn_before:
        leader.draw(NODES)
    assert desk.answer(RUN, leader.request(NODES)).refusal is None
    anchor.check(store.records)
    with pytest.raises(HelperRolledBack, match=r"are an old copy.*accept-old-records"):
        anchor.check(store.restore())


def test_seeds_of_a_draw_that_a_put_back_database_does_not_know_count_for_nothing(store):
    """Even where nobody looks at the anchor: all but one are not answered for."""
    store.back_up()
    desk = desk_of(store)
    leader = leader_of(desk)
    leader.draw(NODES)
    assert desk.answer(RUN, leader.request(NODES)).refusal is None
    store.restore()
    restored = desk_of(store)
    assert restored.answer(RUN, leader.request(NODES[1:])).refusal is SumRefusal.NOT_DRAWN
    secret = leader.secrets[1, "train"]
    old = leader.request(NODES[1:]).seeds
    leader._draw = lambda asked: restored.draw(RUN, asked)
    leader.draw(NODES, secret=secret)  # the leader has its round drawn again: the nonce is another
    assert restored.answer(RUN, leader.request(NODES[1:], **old)).refusal is SumRefusal.BAD_SEED


def test_a_database_that_is_accepted_all_the_same_answers_for_nothing_that_was_begun(store, tmp_path):
    anchor = HelperAnchor(tmp_path / "helper.anchor")
    anchor.check(store.records)
    leader = leader_of(desk_of(store, anchor))
    leader.draw(NODES)
    store.back_up()
    assert desk_of(store, anchor).answer(RUN, leader.request(NODES)).refusal is None
    store.restore().forget_draws()
    anchor.write(store.records)
    anchor.check(store.records)
    assert desk_of(store, anchor).answer(RUN, leader.request(NODES[1:])).refusal is SumRefusal.NOT_DRAWN


def test_without_its_anchor_a_helper_that_answered_does_not_start(store, tmp_path):
    anchor = HelperAnchor(tmp_path / "helper.anchor")
    anchor.check(store.records)
    leader_of(desk_of(store, anchor)).draw(NODES)
    anchor.path.unlink()
    with pytest.raises(HelperRolledBack, match="is gone: put it back"):
        anchor.check(store.records)
    anchor.path.write_text("junk")
    with pytest.raises(HelperRolledBack, match="cannot be read"):
        anchor.check(store.records)


def test_another_database_does_not_go_with_an_anchor(store, tmp_path):
    anchor = HelperAnchor(tmp_path / "helper.anchor")
    anchor.check(store.records)
    leader_of(desk_of(store, anchor)).draw(NODES)
    other = HelperRecords(f"sqlite:///{tmp_path / 'other.db'}")
    for node in NODES:
        other.approve(node.party, 1.0, key_digest(node.certificate))
    desk = HelperDesk(HELPER.keys, "ours", other, KNOWN.get, 3)
    for run in range(5):
        LeaderDouble(lambda asked, run=run: desk.draw(run, asked), HELPER, "ours", run).draw(NODES)
    with pytest.raises(HelperRolledBack):
        anchor.check(other)
    other.close()


def test_a_power_cut_between_the_answer_and_its_note_stops_nobody(store, tmp_path):
    anchor = HelperAnchor(tmp_path / "helper.anchor")
    anchor.check(store.records)
    desk = desk_of(store)  # which notes nothing
    leader = leader_of(desk)
    leader.draw(NODES)
    asked = leader.request(NODES)
    first = desk.answer(RUN, asked)
    anchor.check(store.records)
    assert desk_of(store, anchor).answer(RUN, asked) == first


def test_nothing_is_answered_whose_note_cannot_be_written(store, tmp_path):
    anchor = HelperAnchor(tmp_path / "helper.anchor")
    anchor.check(store.records)
    (tmp_path / "file").touch()
    full = HelperAnchor(tmp_path / "file" / "helper.anchor")
    with pytest.raises(Exception, match="cannot be written"):
        leader_of(desk_of(store, full)).draw(NODES)


def test_every_row_of_the_journal_hangs_on_all_before(store):
    leader = leader_of(desk_of(store))
    for number in (1, 2):
        leader.draw(NODES, number)
    with store.records.session() as session:
        rows = [row.hash for row in session.query(JournalRow).order_by(JournalRow.sequence)]
    assert len(set(rows)) == 3
    assert {len(one) for one in rows} == {32}


def test_records_from_before_draws_get_their_tables_and_lose_nothing(tmp_path):
    url = f"sqlite:///{tmp_path / 'helper.db'}"
    records = HelperRecords(url)
    records.approve(NODES[0].party, 1.0, key_digest(NODES[0].certificate))
    with records.session() as session:
        for statement in ("DROP TABLE draws", "DROP TABLE journal", "UPDATE jaga_helper_schema SET version = 1"):
            session.connection().exec_driver_sql(statement)
    records.close()
    newer = HelperRecords(url)
    assert set(newer.approved()) == {NODES[0].party}
    assert newer.head().sequence == 0
    newer.close()
