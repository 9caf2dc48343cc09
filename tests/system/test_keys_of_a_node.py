"""A real node: its store gets a new key while it runs, and an old copy of its store is refused at the start."""

import shutil
import subprocess
import sys

import pytest
from waiting import wait_until

from edge.config import NodeConfig
from edge.keys.sources import KeyFile
from edge.keys.wrapped import StoreKeys, WrappedKey

PAYING = '[learning]\napp = "waiting_app:paying"\nlinger_s = 30\n[learning.node_config]\nfolder = "FOLDER"\n'

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def keys(node, *arguments):
    command = [sys.executable, "-c", "from edge.cli import main; main()", "keys", *arguments]
    return subprocess.run(command, cwd=node.folder, capture_output=True, text=True, check=False)


def store_files(node):
    return [file for file in node.folder.glob("node.db*") if file.is_file()]


def test_a_running_node_takes_a_new_key_and_goes_on_answering(federation):
    federation.start_broker()
    node = federation.node(PAYING)
    loaded = NodeConfig.load(node.folder / "node.toml")
    source = KeyFile.make(node.folder / "source.key")
    old = loaded.store_key()
    WrappedKey(loaded.store.wrapped_key).write(source, source.key(), StoreKeys(old))
    node.start()
    centre = federation.centre
    centre.wait_online(node.party)
    header, payload = centre.task(node.party)
    centre.send(node.party, payload)
    centre.reply_to(header)
    assert keys(node, "rotate", "node.toml").returncode == 0
    wrapped = WrappedKey(loaded.store.wrapped_key)
    wait_until(lambda: wrapped.open().key != old and wrapped.open().next is None, 60)
    header, payload = centre.task(node.party)
    centre.send(node.party, payload)
    centre.reply_to(header)
    node.stop()
    assert loaded.store_key() == wrapped.open().key != old


def test_a_node_whose_store_was_put_back_does_not_start_and_says_why(federation):
    federation.start_broker()
    node = federation.node(PAYING).start()
    centre = federation.centre
    centre.wait_online(node.party)
    for copied in (False, True):
        header, payload = centre.task(node.party)
        centre.send(node.party, payload)
        centre.reply_to(header)
        node.stop()
        if not copied:
            (node.folder / "backup").mkdir()
            for file in store_files(node):
                shutil.copy(file, node.folder / "backup")
            node.start()
            centre.wait_online(node.party)
    for file in store_files(node):
        file.unlink()
    for file in (node.folder / "backup").iterdir():
        shutil.copy(file, node.folder)
    command = [sys.executable, "-c", "from edge.cli import main; main()", "run", "node.toml"]
    refused = subprocess.run(command, cwd=node.folder, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 5
    assert "old copy" in refused.stderr
    assert "accept-old-store" in refused.stderr
