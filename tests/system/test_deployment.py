"""A deployment from nothing, by the three command lines alone, as the documents tell it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_config.mosquitto import render
from simulations.broker import free_port, mosquitto_program
from simulations.world.generator import World, write_contacts

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def tool(name: str, *arguments: object, folder: Path, status: int = 0) -> str:
    """Run one of the programs to its end; what it printed."""
    module = {"jaga-node": "edge", "jaga-central": "aggregator", "jaga-sim": "simulations"}[name]
    command = [sys.executable, "-c", f"from {module}.cli import main; main()", *map(str, arguments)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=False)
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return " ".join((ended.stdout + ended.stderr).split())


@pytest.fixture
def broker_port(tmp_path):
    """A port, and what starts the production configuration on it with the files that `jaga-central init` made."""
    port = free_port()
    started: list[subprocess.Popen] = []

    def start() -> None:
        made, folder = tmp_path / "centre" / "broker", tmp_path / "mosquitto"
        folder.mkdir()
        settings = {
            "cafile": made / "authority.pem",
            "certfile": made / "party.pem",
            "keyfile": made / "signing.key",
            "acl_file": folder / "jaga.acl",
            "persistence_location": f"{folder}/",
            "log_dest": "stderr",
            "user": os.environ.get("USER", "root"),
        }
        conf = render(port=port, bind="127.0.0.1", settings=settings).write(folder)
        started.append(subprocess.Popen([mosquitto_program(), "-c", str(conf)], stderr=subprocess.DEVNULL))

    yield port, start
    for process in started:
        process.terminate()
        process.wait()


@pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed")
def test_a_federation_from_nothing_to_a_finished_run(tmp_path, broker_port):
    port, start_broker = broker_port
    url = f"mqtts://127.0.0.1:{port}"
    write_contacts(World(3, 2, 2).contacts(), tmp_path / "contacts.csv")
    tool("jaga-central", "init", "centre", "--federation", "Uji Coba", "--broker", url, folder=tmp_path)
    centre = ["--config", "centre/central.toml"]
    for zone in ("class-1", "class-2"):
        words = ("init", zone, "--name", zone, "--broker", url)
        assert "--helper-key is missing" in tool("jaga-node", *words, folder=tmp_path, status=3)
        tool("jaga-node", *words, "--no-secure-sum", folder=tmp_path)
        request = [f"--request={zone}/request.pem", f"--out={zone}/credentials/party.pem"]
        assert "node-" in tool("jaga-central", "nodes", "enroll", "--name", zone, *request, *centre, folder=tmp_path)
        with (tmp_path / zone / "node.toml").open("a") as config:
            config.write(f'\n[sensing.scanner]\nkind = "replay"\ncontacts = "../contacts.csv"\nzone = "{zone}"\n')
    said = tool("jaga-node", "doctor", "class-1/node.toml", "--wait", "2", folder=tmp_path, status=6)
    assert "is it running" in said
    start_broker()
    said = tool("jaga-node", "doctor", "class-1/node.toml", folder=tmp_path, status=6)
    assert "no list of revoked certificates has come" in said
    assert "published until" in tool("jaga-central", "revocations", "publish", *centre, folder=tmp_path)
    said = tool("jaga-node", "doctor", "class-1/node.toml", folder=tmp_path)
    assert "list is good for 7.0 days" in said
    assert "0 entries" in said
    nodes = [
        subprocess.Popen(
            [sys.executable, "-c", "from edge.cli import main; main()", "run", f"{zone}/node.toml"],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        for zone in ("class-1", "class-2")
    ]
    try:
        tool("jaga-sim", "prepare", "hand", "--rounds", "2", "--min-nodes", "2", folder=tmp_path)
        model = ["hand/crowding-public.safetensors", "--card", "hand/crowding-public.json"]
        tool("jaga-central", "models", "add", *model, *centre, folder=tmp_path)
        assert "finished" in tool("jaga-central", "run", "hand/run.toml", *centre, folder=tmp_path)
        assert "finished" in tool("jaga-central", "run", "hand/run.toml", *centre, folder=tmp_path)
        assert "crowding-1" in tool("jaga-central", "runs", "list", *centre, folder=tmp_path)
        assert "class-2" in tool("jaga-central", "runs", "show", "crowding-1", *centre, folder=tmp_path)
    finally:
        for node in nodes:
            node.send_signal(signal.SIGTERM)
        assert [node.wait(30) for node in nodes] == [0, 0]
    said = tool("jaga-node", "privacy", "class-1/node.toml", folder=tmp_path)
    assert "2 entries" in said
    assert said.count("model update") == 2
