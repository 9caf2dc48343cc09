"""`jaga-sim data`: which public data sets there are, what each can answer, and whether its files are here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simulations.datasets.card import DataCard, cards
from simulations.datasets.files import FOLDER_VARIABLE, BadData, Found, State, data_folder, look

BAD_INPUT = 3

HELP = f"""Public data sets that experiments name: what they are, and getting them.

Files are looked for in --folder, else in the folder that {FOLDER_VARIABLE} names, else in the user's cache; \
there and in folders in it. Nothing is downloaded but by `fetch`.
"""

app = typer.Typer(name="data", help=HELP, no_args_is_help=True)
out = Console()
err = Console(stderr=True)

Folder = Annotated[
    Path | None, typer.Option(help=f"Where the files are. Default: {FOLDER_VARIABLE}, else the user's cache.")
]
COLOURS = {State.AS_PUBLISHED: "green", State.ANOTHER: "bold red", State.MISSING: "yellow"}


@app.command("list")
def show_all(folder: Folder = None) -> None:
    """All data sets: for which task, how large, under which licence, and whether they are here."""
    table = Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, caption=f"in {data_folder(folder)}", caption_justify="left"
    )
    table.add_column("name", no_wrap=True)
    table.add_column("task", no_wrap=True)
    for title in ("nodes", "train", "held out", "people"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("licence")
    table.add_column("files", no_wrap=True)
    for name, card in cards().items():
        counts = (card.sites, card.training, card.held_out)
        people = f"{card.people}" if card.people else "–"
        licence = card.licence.partition(" (")[0]
        table.add_row(name, card.task, *map(str, counts), people, licence, _here(_look(name, card, folder)))
    out.print(table, highlight=False)
    out.print("train, held out: examples of all nodes; `jaga-sim data show NAME` is the card", style="dim")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Of the data set.")]) -> None:
    """The card of one data set: what it is, what it can and cannot answer, what is held out, and whom to cite."""
    card = _card(name)
    table = Table(box=None, show_header=False, pad_edge=False, title=f"[bold]{name}[/]: {card.title}", title_style="")
    table.title_justify = "left"
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    people = f" of {card.people:,} people" if card.people else ""
    rows = (
        ("what", card.what),
        ("size", f"{card.rows:,} rows{people}"),
        ("task", card.task),
        ("a node", card.node),
        ("split", card.split),
        ("", f"{card.sites} nodes; {card.training:,} examples train, {card.held_out:,} are held out"),
        ("answers", card.answers),
        ("silent on", card.does_not_answer),
        ("mind", card.notes),
        ("licence", card.licence),
        ("cite", card.citation),
        ("source", f"{card.source}, commit {card.commit}"),
        ("files", ", ".join(file.name for file in card.files)),
    )
    for key, text in rows:
        if text:
            table.add_row(key, escape(text))
    out.print(table, highlight=False)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of data sets.")], folder: Folder = None
) -> None:
    """Download what is missing of data sets, and check it. What is there already is left as it is."""
    from simulations.datasets.download import fetch as download  # noqa: PLC0415  (half a second)

    def tell(what: str) -> None:
        err.print(what, style="dim", highlight=False, soft_wrap=True)

    for name, card in [(name, _card(name)) for name in names]:
        out.print(f"{name}: {card.licence}. Cite: {card.citation}", soft_wrap=True, highlight=False, markup=False)
        try:
            paths = download(name, card, folder, tell)
        except BadData as why:
            fail(why)
        out.print(f"{name}: {len(paths)} file(s), as published", highlight=False)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
    folder: Folder = None,
) -> None:
    """Which files are here, and whether each is as published.

    Exit status 3 where a file has another checksum, or where one of a data set that was named is missing.
    """
    chosen = {name: _card(name) for name in names or cards()}
    table = Table(box=None, pad_edge=False)
    table.add_column("data", no_wrap=True)
    table.add_column("files", no_wrap=True)
    table.add_column("where", overflow="fold")
    wrong = []
    for name, card in chosen.items():
        looked = _look(name, card, folder)
        found = [one for one in looked if one.state is not State.MISSING]
        wrong += [one for one in looked if one.state is State.ANOTHER or (names and one.state is State.MISSING)]
        table.add_row(name, _here(looked), escape(", ".join(sorted({str(one.path.parent) for one in found}))))
    out.print(table, highlight=False)
    for one in wrong:
        err.print(f"{one.path}: {one.state}", style=COLOURS[one.state], soft_wrap=True, highlight=False, markup=False)
    if wrong:
        fail(
            f"{len(wrong)} file(s) are missing or not as published: `jaga-sim data fetch` gets what is missing; move "
            "what is not as published away first"
        )


def _here(looked: list[Found]) -> str:
    """`16 of 16`, or what is wrong."""
    states = [one.state for one in looked]
    worst = next(state for state in (State.ANOTHER, State.MISSING, State.AS_PUBLISHED) if state in states)
    good = states.count(State.AS_PUBLISHED)
    text = "changed" if worst is State.ANOTHER else "missing" if not good else f"{good} of {len(states)}"
    return f"[{COLOURS[worst]}]{text}[/]"


def _look(name: str, card: DataCard, folder: Path | None) -> list[Found]:
    try:
        return list(look(name, card, folder))
    except BadData as why:
        fail(why)


def _card(name: str) -> DataCard:
    if name not in cards():
        fail(f"no data set is called {name!r}; there are {', '.join(cards())}")
    return cards()[name]


def fail(why: object) -> NoReturn:
    """One line that says what to do, and the exit status for data that cannot be used."""
    err.print(f"[bold red]jaga-sim:[/] {escape(str(why))}", soft_wrap=True, highlight=False)
    raise typer.Exit(BAD_INPUT)
