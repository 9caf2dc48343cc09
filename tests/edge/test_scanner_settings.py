"""What field staff write in `[sensing.scanner]`, and what the sensing process is told."""

import msgspec
import pytest
from pydantic import TypeAdapter

from edge.config import BadConfig, NodeConfig, SensingTable
from edge.sensing.advertisement import Advertisement
from edge.sensing.scanners.radio import RadioScanner
from edge.sensing.settings import BleakSection, BluepySection, GeneratorSection, ScannerSection

TABLES = SensingTable.model_fields["scanner"].annotation
WRITTEN = [
    {"kind": "bluepy"},
    {"kind": "bluepy", "adapters": ["hci1", "hci0"], "helper": "/opt/jaga/bluepy-helper"},
    {"kind": "bleak", "adapters": ["hci2"]},
    {"kind": "replay", "contacts": "c.csv", "zone": "3A", "seed": 3, "metadata": "m.txt", "until_s": 9.0, "speed": 2.0},
    {"kind": "btsnoop", "capture": "hci.log", "until_s": 9.0, "speed": 2.0},
    {"kind": "exp34", "measurements": "s.sqlite", "receiver": "6", "seed": 3, "until_s": 9.0, "speed": 2.0},
    {"kind": "nist", "measurements": "n.csv", "until_s": 9.0, "speed": 2.0},
    {
        "kind": "generator",
        "devices": 5,
        "frames_per_s": 9.0,
        "seed": 3,
        "shown_as": "tag",
        "from_s": 1.0,
        "seconds": 2.0,
    },
]


def told(written: dict) -> ScannerSection:
    """What the node tells its sensing process of a table."""
    table = TypeAdapter(TABLES).validate_python(written)
    return msgspec.convert(table.model_dump(mode="json"), ScannerSection)


@pytest.mark.parametrize("written", WRITTEN, ids=lambda w: f"{w['kind']}-{len(w)}")
def test_every_key_of_a_table_reaches_the_sensing_process(written):
    section = msgspec.to_builtins(told(written))
    assert {key: section[key] for key in written} == {
        k: tuple(v) if isinstance(v, list) else v for k, v in written.items()
    }


def test_every_kind_that_can_be_told_can_be_written():
    kinds = {section.__struct_config__.tag for section in ScannerSection.__args__}
    assert kinds == {written["kind"] for written in WRITTEN}


@pytest.mark.parametrize(
    ("scanner", "named"),
    [
        ('kind = "sonar"', "'sonar'"),
        ('kind = "bluepy"\nadapters = ["wlan0"]', "adapters"),
        ('kind = "bluepy"\nadapters = []', "adapters"),
        ('kind = "generator"\ndevices = 0\nframes_per_s = 1', "devices"),
        ('kind = "bleak"\nspeed = 2', "speed"),
    ],
)
def test_a_scanner_that_makes_no_sense_is_named(tmp_path, scanner, named):
    (tmp_path / "node.toml").write_text(f'name = "x"\n[sensing.scanner]\n{scanner}\n')
    with pytest.raises(BadConfig, match=named):
        NodeConfig.load(tmp_path / "node.toml")


def test_paths_of_any_scanner_are_relative_to_the_file(tmp_path):
    (tmp_path / "node.toml").write_text('name = "x"\n[sensing.scanner]\nkind = "btsnoop"\ncapture = "hci.log"\n')
    assert NodeConfig.load(tmp_path / "node.toml").sensing.scanner.capture == tmp_path / "hci.log"


@pytest.mark.parametrize("section", [BluepySection(adapters=("hci0", "hci1")), BleakSection()])
def test_a_radio_can_be_opened_where_there_is_none(section):
    assert isinstance(section.open(None, lambda _: True, print), RadioScanner)


def test_a_generated_recording_goes_on_where_it_stopped_and_a_drill_begins_now():
    recording = GeneratorSection(devices=2, frames_per_s=1, from_s=600.0, seconds=10, speed=None)
    times = [h.heard_at_s for h in recording.open(605.0, lambda _: False, print) if isinstance(h, Advertisement)]
    assert times == [605.0, 606.0, 607.0, 608.0, 609.0]
    drill = GeneratorSection(devices=2, frames_per_s=1, seconds=10, speed=None)
    assert len([h for h in drill.open(1e12, lambda _: False, print) if isinstance(h, Advertisement)]) == 10
