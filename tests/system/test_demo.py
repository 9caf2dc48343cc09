"""`jaga-sim demo` as its user types it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from simulations.broker import BrokerCredentials, start_broker

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-c", "from simulations.cli import main; main()", "demo"]


def demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*COMMAND, *options],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )


def test_a_small_federation_runs_and_its_figures_are_in_the_file(tmp_path):
    ended = demo(tmp_path, "--nodes", "2", "--rounds", "2", "--json", "figures.json", "--folder", "kept")
    assert ended.returncode in (0, 1), ended.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    held = {check["claim"]: check["held"] for check in figures["verdict"]["checks"]}
    held.pop("the private federated model beats persistence")  # two rounds of two nodes need not
    assert all(held.values()), ended.stdout
    assert held["the leader could read no single node's update"]
    assert len(held) == 5
    assert [row["participants"] for row in figures["rounds"]] == [2, 2]
    assert 0 < figures["rounds"][0]["epsilon"] < figures["rounds"][1]["epsilon"] <= 8
    assert figures["verdict"]["epsilon"] == pytest.approx(figures["rounds"][1]["epsilon"])
    assert figures["broker"]["kind"] in ended.stdout
    assert b"sightings" not in (next((tmp_path / "kept" / "nodes").iterdir()) / "node.db").read_bytes()


def test_it_runs_on_the_embedded_broker_where_there_is_no_mosquitto_and_says_what_that_lacks(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import shutil\nfind = shutil.which\n"
        "shutil.which = lambda name, *args, **options: None if name == 'mosquitto' else find(name, *args, **options)\n"
    )
    ended = demo(tmp_path, "--nodes", "2", "--rounds", "1", PYTHONPATH=str(tmp_path))
    assert "broker: embedded" in ended.stdout
    assert "does not ask clients for certificates" in ended.stdout
    assert "✓ nothing personal crossed the wire" in ended.stdout, ended.stdout + ended.stderr


def test_it_runs_on_a_broker_that_is_there_already(tmp_path):
    authority = CertificateAuthority.create("somebody else's")
    authority.enrol("broker", Role.BROKER, ["127.0.0.1"]).save(tmp_path / "broker")
    with start_broker("embedded", tmp_path / "embedded", BrokerCredentials.in_folder(tmp_path / "broker")) as broker:
        url = broker.url.replace("mqtts://", "mqtts://user:word@")
        ended = demo(tmp_path, "--nodes", "2", "--rounds", "1", "--broker", url, "--broker-ca", "broker/authority.pem")
    assert "broker: external" in ended.stdout, ended.stderr
    assert "word" not in ended.stdout + ended.stderr
    assert "✓ the eavesdropper heard what the audit logs say" in ended.stdout, ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("file", ["primaryschool.csv", "hospital_lyon_contacts.dat"])
def test_the_private_model_beats_persistence_on_real_contacts(tmp_path, sociopatterns, file):
    ended = demo(tmp_path, "--data", str(sociopatterns / file), "--rounds", "10", "--json", "figures.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    verdict = json.loads((tmp_path / "figures.json").read_text())["verdict"]
    assert verdict["federated"] < verdict["persistence"]
    assert verdict["epsilon"] <= 8


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--nodes", "1"], 3, "at least 2 nodes"),
        (["--rounds", "0"], 3, "--rounds 0"),
        (["--epsilon", "-1"], 3, "--epsilon -1"),
        (["--data", "absent.csv"], 3, "absent.csv"),
        (["--data", "words.csv"], 3, "words.csv:1"),
        (["--data", "one-day.csv"], 3, "day"),
        (["--broker", "http://127.0.0.1"], 3, "mqtts://"),
        (["--broker", "mqtts://127.0.0.1:9"], 4, "127.0.0.1:9"),
        (["--folder", "."], 3, "exists"),
    ],
)
def test_a_bad_file_or_value_gets_one_clear_line(tmp_path, options, status, words):
    (tmp_path / "words.csv").write_text("these are no contacts\n")
    (tmp_path / "one-day.csv").write_text("20\t1\t2\tA\tB\n40\t1\t2\tA\tB\n")
    ended = demo(tmp_path, *options)
    assert ended.returncode == status, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_ctrl_c_ends_every_process_of_the_demo(tmp_path):
    running = subprocess.Popen(
        [*COMMAND, "--nodes", "2", "--folder", "kept"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for line in running.stdout:
        if b"broker:" in line:
            break
    children = set(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split())
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert not [pid for pid in children if Path(f"/proc/{pid}/exe").exists()]
