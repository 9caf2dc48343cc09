"""Records a command in a real terminal as an SVG: `python docs/images/record.py docs/images/demo.svg jaga-sim demo`.

tmux is the terminal, and rich draws what it shows at the end, with its colours.
"""

import io
import subprocess
import sys
import time

from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 96, 60
SESSION = "jaga-record"


def screen() -> str:
    """What the terminal shows, with its escape codes."""
    capture = ["tmux", "capture-pane", "-e", "-p", "-t", SESSION]
    shown = subprocess.run(capture, capture_output=True, text=True, check=True)
    return shown.stdout.rstrip()


def record(command: list[str]) -> str:
    size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
    shell = " ".join(command) + "; tmux wait-for -S jaga-recorded; sleep 5"
    subprocess.run(["tmux", "new-session", "-d", "-s", SESSION, *size, shell], check=True)
    subprocess.run(["tmux", "wait-for", "jaga-recorded"], check=True)
    time.sleep(0.5)
    return screen()


def main(path: str, *command: str) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(f"[bold green]$[/] {' '.join(command).removeprefix('.venv/bin/')}", highlight=False)
    console.print(Text.from_ansi(record(list(command))))
    console.save_svg(path, title="Jaga")


if __name__ == "__main__":
    main(*sys.argv[1:])
