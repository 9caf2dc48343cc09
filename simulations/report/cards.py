"""What is known of the data sets that were learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.datasets.card import cards
from simulations.report.runs import Run

FIELDS = {
    "what": "What it is",
    "node": "A site is",
    "split": "Held out",
    "answers": "Answers",
    "does_not_answer": "Does not answer",
    "licence": "Licence",
    "citation": "To be cited",
    "source": "Published at",
}


def data_cards(runs: Sequence[Run]) -> list[tuple[str, list[tuple[str, str]]]]:
    """A title and its facts for each data set; of one without a card, how many sites and examples it has."""
    named = {run.data_name: run for run in reversed(runs)}
    result = list[tuple[str, list[tuple[str, str]]]]()
    for name, run in sorted(named.items()):
        card = cards().get(name)
        facts = [(title, getattr(card, field)) for field, title in FIELDS.items() if card is not None]
        counts = [(key, f"{value:,}" if isinstance(value, int) else str(value)) for key, value in run.data.items()]
        facts += [(key.capitalize().replace("_", " "), value) for key, value in counts if key != "name"]
        result.append((name if card is None else f"{name}: {card.title}", facts))
    return result
