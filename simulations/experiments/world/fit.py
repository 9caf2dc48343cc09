"""Find the world's numbers again: contacts of places, and what a radio makes of distance.

    python -m simulations.experiments.world.fit [NAMES] --folder FOLDER

Prints what belongs in `simulations/world/places.py` and `simulations/world/radio.py`. The search for a place begins
with the numbers that are there and sees the first days of its data set alone. Each takes some minutes, the radio half a
minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from privacy.logs import configure_process
from simulations.experiments.world.contacts_fit import Measured, refit
from simulations.experiments.world.published import KNOWN, contacts_of, scenes, stretches
from simulations.experiments.world.radio_fit import fit_wall, fit_worn
from simulations.world.scans import link_scans

EXP34, NIST = "exp34", "nist-pi"
FITTED = (*(name for name, known in KNOWN.items() if known.fitted), EXP34, NIST)


def main(
    names: Annotated[list[str] | None, typer.Argument(help="of " + ", ".join(FITTED) + "; none: all")] = None,
    *,
    folder: Annotated[Path | None, typer.Option(help="of the files; else as `jaga-sim data` finds them")] = None,
    tries: Annotated[int, typer.Option(help="steps of the search for a place")] = 300,
    seed: int = 1,
) -> None:
    """Print each fit, and of a place every step that was better than the one before."""
    if unknown := sorted({*(names or ())} - {*FITTED}):
        raise typer.BadParameter(f"nothing is fitted to {', '.join(unknown)}: choose of {', '.join(FITTED)}")
    console = Console(width=120)
    for name in names or FITTED:
        console.rule(name)
        if name == EXP34:
            console.print(fit_worn(link_scans(scenes(folder))))
        elif name == NIST:
            power, exponent, between, frame = fit_wall(stretches(folder))
            console.print(f"power {power:.2f} dBm, exponent {exponent:.3f}")
            console.print(f"spread between places {between:.2f} dB, of frames {frame:.2f} dB")
        else:
            known, site = KNOWN[name], contacts_of(name, folder)
            for loss, place in refit(known.place, Measured(site, site.days()[: known.fitted]), seed, tries):
                console.print(f"{loss:.3f}", place)


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
