import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.contacts import BadContactFile, Contact, OpenDay, days, read_contacts, zones


def written(path, text):
    path.write_text(text)
    return path


@given(
    st.lists(
        st.tuples(st.integers(0, 200_000), st.integers(0, 9), st.integers(0, 9)).filter(lambda c: c[1] != c[2]),
        min_size=1,
    )
)
def test_what_is_written_is_read_in_time_order_and_once(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("contacts") / "c.csv"
    path.write_text("".join(f"{t}\tp{i}\tp{j}\tZ{i % 2}\tZ{j % 2}\n" for t, i, j in rows))
    contacts = read_contacts(path)
    assert [c.t for c in contacts] == sorted(c.t for c in contacts)
    assert sorted((c.t, *sorted((c.a, c.b))) for c in contacts) == sorted(
        {(t, *sorted((f"p{i}", f"p{j}"))) for t, i, j in rows}
    )
    assert all((c.zone_a, c.zone_b) == (f"Z{int(c.a[1:]) % 2}", f"Z{int(c.b[1:]) % 2}") for c in contacts)


def test_tabs_and_spaces_are_the_same(tmp_path):
    tabs = written(tmp_path / "tabs.csv", "20\t1\t2\tA\tB\n")
    spaces = written(tmp_path / "spaces.dat", "20 1 2 A B\n\n")
    assert read_contacts(tabs) == read_contacts(spaces) == [Contact(20, "1", "2", "A", "B")]


def test_zones_come_from_the_metadata_where_the_lines_have_none(tmp_path):
    path = written(tmp_path / "tij.dat", "20 1 2\n")
    people = written(tmp_path / "people.txt", "1\tDISQ\tM\n2 SFLE\n")
    assert read_contacts(path, people) == [Contact(20, "1", "2", "DISQ", "SFLE")]


def test_a_gzipped_file_is_read_as_it_was_downloaded(tmp_path):
    path = tmp_path / "c.csv.gz"
    path.write_bytes(gzip.compress(b"20 1 2 A B\n", mtime=0))
    assert len(read_contacts(path)) == 1


def test_a_tag_that_met_itself_is_left_out(tmp_path):
    assert read_contacts(written(tmp_path / "c", "20 1 1 A A\n20 1 2 A A\n")) == [Contact(20, "1", "2", "A", "A")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("20 1 2 A B\n40 1 2 A\n", r"c\.csv:2: 4 fields"),
        ("20 1 2 A B\nnoon 1 2 A B\n", r"c\.csv:2: time 'noon'"),
        ("-20 1 2 A B\n", r"c\.csv:1: time '-20'"),
        ("20 1 2\n", r"c\.csv:1: no zone for person 1: give the file of zones"),
        ("20 1 2 A B\n40 1 3 B B\n", r"c\.csv:2: person 1 is in zone B, but was in A"),
        ("", "no contacts in it"),
        ("20 1 1 A A\n", "no contacts in it"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(tmp_path, text, complaint):
    with pytest.raises(BadContactFile, match=complaint):
        read_contacts(written(tmp_path / "c.csv", text))


def test_a_person_without_a_zone_is_named(tmp_path):
    path, people = written(tmp_path / "c.csv", "20 1 2\n"), written(tmp_path / "people.txt", "1 A\n")
    with pytest.raises(BadContactFile, match=r"no zone for person 2: add it to .*people\.txt"):
        read_contacts(path, people)


def test_a_person_with_two_zones_in_the_metadata_is_named(tmp_path):
    path, people = written(tmp_path / "c.csv", "20 1 2\n"), written(tmp_path / "people.txt", "1 A\n1 B\n")
    with pytest.raises(BadContactFile, match=r"people\.txt:2: person 1 has zones A and B"):
        read_contacts(path, people)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff", gzip.compress(b"20 1 2 A B\n", mtime=0)])
def test_a_file_that_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "c.csv"
    path.write_bytes(content)
    with pytest.raises(BadContactFile, match="not a text file"):
        read_contacts(path)


def test_a_missing_file_names_where_to_get_one(tmp_path):
    with pytest.raises(BadContactFile, match=r"No such file.*sociopatterns\.org"):
        read_contacts(tmp_path / "absent.csv")


def test_a_folder_and_a_broken_archive_are_refused(tmp_path):
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"20 1 2 A B\n" * 100)[:-9])
    for path in (tmp_path, tmp_path / "c.csv.gz"):
        with pytest.raises(BadContactFile, match="cannot be read"):
            read_contacts(path)


def test_opening_hours_are_whole_slots_around_the_contacts_of_any_zone():
    morning, evening = 8 * 3600 + 40 * 60, 86400 + 17 * 3600
    contacts = [Contact(t, "1", "2", "A", "B") for t in (morning, morning + 3600, evening)]
    assert days(contacts) == [
        OpenDay(0, 8 * 3600 + 1800, 10 * 3600),
        OpenDay(1, 86400 + 17 * 3600, 86400 + 17 * 3600 + 1800),
    ]
    assert zones(contacts) == ["A", "B"]


@pytest.mark.parametrize(
    ("file", "metadata", "expected"),
    [
        ("primaryschool.csv", None, (125_773, 242, 2)),
        ("hospital_lyon_contacts.dat", None, (32_424, 75, 5)),
        # 28,561 lines, of which 21 come twice and one is a tag with itself.
        ("highschool_2011.csv", None, (28_539, 126, 4)),
        ("tij_InVS.dat", "workplace_InVS_metadata.txt", (9_827, 92, 10)),
    ],
)
def test_published_files_read_as_their_provenance_says(sociopatterns, file, metadata, expected):
    read = read_contacts(sociopatterns / file, metadata and sociopatterns / metadata)
    people = {c.a for c in read} | {c.b for c in read}
    assert (len(read), len(people), len(days(read))) == expected
