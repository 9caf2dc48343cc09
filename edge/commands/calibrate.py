"""Calibrating an adapter: a tag is carried to known distances."""
# ruff: noqa: PLC0415  (the walk needs numpy, which a running node does without)

from __future__ import annotations

from typing import Annotated

import typer

from edge.commands.terminal import ConfigFile, explained
from edge.config import NodeConfig


def calibrate(
    config: ConfigFile,
    tag: Annotated[str | None, typer.Option(help="Label of the tag to walk with. / Label tag yang dibawa.")] = None,
    adapter: Annotated[str | None, typer.Option(help="The adapter, such as hci0. / Adaptor, misalnya hci0.")] = None,
    seconds: Annotated[
        float, typer.Option(min=20, max=600, help="How long to stand still. / Lama berdiri diam, detik.")
    ] = 40.0,
    again: Annotated[
        bool, typer.Option(help="Use stored walks anew, without walking. / Hitung ulang tanpa berjalan.")
    ] = False,
) -> None:
    """Calibrate an adapter with a tag at known distances. / Mengkalibrasi adaptor dengan tag pada jarak tertentu."""

    def work() -> None:
        from edge.commands.calibration_walk import anew, walk

        loaded = NodeConfig.load(config)
        if again:
            anew(loaded)
        else:
            walk(loaded, tag, adapter, seconds)

    explained(work)
