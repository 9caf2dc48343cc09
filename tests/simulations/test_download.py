"""Finding and downloading files of a data set, against a real server on this machine."""

import gzip
import hashlib
import io
import socket
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from simulations.datasets.card import DataCard, DataFile, cards
from simulations.datasets.catalogue import load
from simulations.datasets.download import fetch
from simulations.datasets.files import BadData, State, data_folder, find, look

CONTENT = b"31220\t1558\t1567\t3B\t3B\n" * 1000
SOURCE = "github.com/somebody/contacts"


def zipped(*members, content=CONTENT):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in members:
            archive.writestr(name, content)
    return packed.getvalue()


PUBLISHED = {
    "contacts.csv": CONTENT,
    "contacts.csv.gz": gzip.compress(CONTENT),
    "contacts.zip": zipped("data/", "data/contacts.csv", "readme.txt"),
    "other.zip": zipped("measured.dat"),
    "many.zip": zipped("one.csv", "two.csv"),
    "changed.csv": CONTENT + b"more\n",
    "changed.csv.gz": gzip.compress(b"more\n"),
    "cut.csv.gz": gzip.compress(CONTENT)[:-20],
    "page.csv.gz": b"<html>blocked</html>",
    "page.zip": b"<html>blocked</html>",
}


class Published(BaseHTTPRequestHandler):
    """Serves `PUBLISHED`; of /broken/ it keeps the second half back, and of /nobody/ it has nothing."""

    def do_GET(self):
        self.server.asked.append(self.path)
        _, place, name = self.path.split("/")
        if place == "nobody":
            self.send_error(404)
            return
        body = PUBLISHED[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if place == "broken" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Published) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def card(address, published="", name="contacts.csv"):
    file = DataFile(name, hashlib.sha256(CONTENT).hexdigest(), published)
    return DataCard(
        title="contacts", task="crowding", what="", rows=1000, people=2, node="", sites=1, training=1, held_out=1,
        split="", answers="", does_not_answer="", source=SOURCE, commit="c0ffee0", address=address, licence="CC0",
        citation="nobody", files=(file,),
    )  # fmt: skip


def served(server, place="data", published=""):
    return card(f"http://127.0.0.1:{server.server_port}/{place}", published)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("published", ["", "contacts.csv.gz", "contacts.zip", "other.zip"])
def test_a_file_arrives_unpacked_where_it_is_found_and_is_not_asked_for_again(server, tmp_path, published):
    wanted = served(server, published=published)
    (path,) = fetch("contacts", wanted, tmp_path)
    assert path.read_bytes() == CONTENT
    assert files_in(tmp_path) == [path] == list(find("contacts", wanted, tmp_path).values())
    fetch("contacts", wanted, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", cards())
def test_every_set_can_be_fetched_as_it_is_published_and_loaded(server, shared_data, tmp_path, monkeypatch, name):
    wanted = cards()[name]
    for file in wanted.files:
        content = next(shared_data.glob(f"*/{file.name}")).read_bytes()
        packed = {".gz": gzip.compress(content, 1), ".zip": zipped(file.name, content=content)}
        monkeypatch.setitem(PUBLISHED, file.published or file.name, packed.get(Path(file.published).suffix, content))
    fetch(name, replace(wanted, address=f"http://127.0.0.1:{server.server_port}/data"), tmp_path)
    assert len(server.asked) == len(wanted.files)
    assert len(load(name, tmp_path).sites) == wanted.sites


@pytest.mark.parametrize(
    ("place", "published", "named"),
    [
        ("nobody", "", "404"),
        ("broken", "", "broke off"),
        ("broken", "contacts.csv.gz", "broke off"),
        ("data", "changed.csv.gz", "its SHA-256 is another"),
        ("data", "cut.csv.gz", "cannot be unpacked"),
        ("data", "page.csv.gz", "cannot be unpacked"),
        ("data", "page.zip", "cannot be unpacked"),
        ("data", "many.zip", r"cannot be unpacked \(2 files in it may be contacts.csv\)"),
    ],
)
def test_a_download_that_fails_names_source_and_place_and_leaves_nothing_behind(
    server, tmp_path, place, published, named
):
    with pytest.raises(BadData, match=rf"contacts: http.*{named}.*from {SOURCE} and put it.* into {tmp_path}/contacts"):
        fetch("contacts", served(server, place, published), tmp_path)
    assert files_in(tmp_path) == []


def test_a_file_that_is_not_what_was_published_is_not_kept(server, tmp_path, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "contacts.csv", PUBLISHED["changed.csv"])
    with pytest.raises(BadData, match="its SHA-256 is another"):
        fetch("contacts", served(server), tmp_path)
    assert files_in(tmp_path) == []


def test_no_connection_is_said_in_a_line_that_names_source_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(BadData, match=rf"no connection to the server\. Try again, or get contacts\.csv from {SOURCE}"):
        fetch("contacts", card(f"http://127.0.0.1:{port}/data"), tmp_path)
    assert files_in(tmp_path) == []


def test_a_server_that_falls_silent_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("simulations.datasets.download.TIMEOUT_S", 0.2)
    released = threading.Event()

    class Silent(Published):
        def do_GET(self):
            released.wait(20)

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(BadData, match="silent"):
            fetch("contacts", served(server), tmp_path)
        released.set()
        server.shutdown()


def test_a_place_that_cannot_be_written_to_is_named(server, tmp_path):
    (tmp_path / "contacts").write_text("a file where a folder belongs")
    with pytest.raises(BadData, match=rf"cannot be written to {tmp_path}/contacts"):
        fetch("contacts", served(server), tmp_path)


def test_another_file_in_its_place_is_left_as_it_is(server, tmp_path):
    own = tmp_path / "contacts.csv"
    own.write_text("somebody's own")
    with pytest.raises(BadData, match=rf"{own} is not as published.*move it away first"):
        fetch("contacts", served(server), tmp_path)
    assert own.read_text() == "somebody's own"
    assert server.asked == []


@pytest.mark.parametrize(
    ("where", "state"),
    [(".", State.AS_PUBLISHED), ("one", State.AS_PUBLISHED), ("one/two", State.MISSING)],
)
def test_files_are_looked_for_in_the_folder_and_one_level_down(tmp_path, where, state):
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    (tmp_path / where / "contacts.csv").write_bytes(CONTENT)
    (found,) = look("contacts", card("http://nowhere"), tmp_path)
    assert found.state is state


def test_of_several_files_with_a_name_the_one_that_is_as_published_counts(tmp_path):
    for folder, content in (("a", b"changed"), ("b", CONTENT), ("c", b"changed")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "contacts.csv").write_bytes(content)
    assert find("contacts", card("http://nowhere"), tmp_path)["contacts.csv"].parent.name == "b"


def test_the_folder_is_what_is_named_else_the_environment_s_else_the_user_s_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAGA_DATA", str(tmp_path / "here"))
    assert data_folder(tmp_path / "there") == tmp_path / "there"
    assert data_folder() == tmp_path / "here"
    monkeypatch.delenv("JAGA_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder().is_relative_to(tmp_path / "cache")


def test_what_is_downloaded_without_a_folder_is_found_without_one(server, tmp_path, monkeypatch):
    monkeypatch.setenv("JAGA_DATA", str(tmp_path))
    (path,) = fetch("contacts", served(server))
    assert find("contacts", served(server)) == {"contacts.csv": path}


def test_a_file_that_cannot_be_read_is_named_with_its_source(tmp_path, monkeypatch):
    (tmp_path / "contacts.csv").write_bytes(CONTENT)

    def unreadable(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", unreadable)
    with pytest.raises(BadData, match=rf"contacts\.csv cannot be read \(Permission denied\).*{SOURCE}"):
        list(look("contacts", card("http://nowhere"), tmp_path))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("", "0" * 64), "not the name of a file"),
        (("../contacts.csv", "0" * 64), "not the name of a file"),
        (("contacts.csv", "0" * 63), "64 hexadecimal"),
        (("contacts.csv", "0" * 64, "contacts.rar"), "neither .gz nor .zip"),
    ],
)
def test_a_file_that_a_card_cannot_mean_is_refused(values, named):
    with pytest.raises(ValueError, match=named):
        DataFile(*values)


def test_a_card_without_an_address_to_download_from_is_refused():
    with pytest.raises(ValueError, match="not one to download from"):
        card("ftp://somewhere")
