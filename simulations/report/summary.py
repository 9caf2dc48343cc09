"""The findings in sentences, in English and in Indonesian."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from simulations.report.findings import Best, Findings
from simulations.report.phrases import counted, indonesian, number, percentage, size
from simulations.report.runs import Run

STATUS_ID = {"done": "selesai", "stopped": "terhenti", "running": "masih berjalan", "failed": "gagal"}
UNIT_ID = {"person-minutes": "menit-orang"}


def english(runs: Sequence[Run], found: Sequence[Findings]) -> list[str]:
    """What was run, and what came out on each data set."""
    names = ", ".join(sorted({run.name for run in runs}))
    states = Counter(run.status for run in runs)
    shown = ", ".join(f"{states[state]} {state}" for state in STATUS_ID if states[state])
    sentences = [f"{counted(len(runs), 'run')} of {names}: {shown}."]
    if not found:
        return [*sentences, "No run is done yet, so there is nothing to conclude."]
    for one in found:
        where = one.data + (f" ({counted(one.sites, 'site')})" if one.sites else "")
        if one.best is None:
            sentences.append(f"On {where} no held-out error is known.")
            continue
        best, which = one.best, "with privacy" if one.private else "without privacy"
        label = f" ({best.label})" if best.label else ""
        sentences.append(
            f"On {where} the lowest error {which}{label} is {number(best.error.mean)} {best.unit}".rstrip()
            + _range_en(best)
            + _beside_en(best)
            + "."
        )
        if math.isfinite(best.gap):
            sentences.append(
                f"That is {percentage(best.gap)} of the way from the baseline to central training without privacy."
            )
        if one.smallest is not None:
            at, tight = one.smallest
            sentences.append(
                f"With the smallest budget, ε\u00a0{at:g}, the lowest error is {number(tight.error.mean)}"
                f"{_beside_en(tight)}."
            )
        if best.worse_at is not None:
            sentences.append(
                f"The model of the lowest error is worse than the baseline at {best.worse_at} of "
                f"{counted(best.sites, 'site')}."
            )
        if math.isfinite(best.up + best.down):
            sentences.append(f"In a mean round all sites together send {size(best.up)} and are sent {size(best.down)}.")
    return sentences


def bahasa(runs: Sequence[Run], found: Sequence[Findings]) -> list[str]:
    """The same in Indonesian, with its decimal comma."""
    names = ", ".join(sorted({run.name for run in runs}))
    states = Counter(run.status for run in runs)
    shown = ", ".join(f"{states[state]} {word}" for state, word in STATUS_ID.items() if states[state])
    sentences = [f"Laporan ini memuat {indonesian(f'{len(runs):,}')} simulasi dari {names}: {shown}."]
    if not found:
        return [*sentences, "Belum ada simulasi yang selesai, jadi belum ada kesimpulan."]
    for one in found:
        where = one.data + (f" ({one.sites} lokasi)" if one.sites else "")
        if one.best is None:
            sentences.append(f"Pada data {where} galat pada data uji tidak diketahui.")
            continue
        best, which = one.best, "dengan privasi" if one.private else "tanpa privasi"
        label = f" ({_label_id(best.label)})" if best.label else ""
        unit = UNIT_ID.get(best.unit, "")
        sentences.append(
            f"Pada data {where} galat terkecil {which}{label} adalah {_number_id(best.error.mean)} {unit}".rstrip()
            + _range_id(best)
            + _beside_id(best)
            + "."
        )
        if math.isfinite(best.gap):
            sentences.append(
                f"Itu {indonesian(percentage(best.gap))} dari jarak antara acuan dan pelatihan terpusat tanpa privasi."
            )
        if one.smallest is not None:
            at, tight = one.smallest
            sentences.append(
                f"Dengan anggaran privasi terkecil, ε\u00a0{indonesian(f'{at:g}')}, galat terkecil adalah "
                f"{_number_id(tight.error.mean)}{_beside_id(tight)}."
            )
        if best.worse_at is not None:
            sentences.append(
                f"Model dengan galat terkecil lebih buruk daripada acuan di {best.worse_at} dari {best.sites} lokasi."
            )
        if math.isfinite(best.up + best.down):
            sentences.append(
                f"Dalam satu putaran rata-rata, semua lokasi bersama-sama mengirim {indonesian(size(best.up))} dan "
                f"menerima {indonesian(size(best.down))}."
            )
    return sentences


def _range_en(best: Best) -> str:
    error = best.error
    return f", {number(error.low)} to {number(error.high)} over {error.count} runs" if error.count > 1 else ""


def _beside_en(best: Best) -> str:
    if not math.isfinite(best.saved):
        return ""
    side = "below" if best.saved >= 0 else "above"
    return f", {percentage(abs(best.saved))} {side} the baseline's {number(best.baseline)}"


def _range_id(best: Best) -> str:
    error = best.error
    ends = f"{_number_id(error.low)} sampai {_number_id(error.high)}"
    return f", {ends} dalam {error.count} simulasi" if error.count > 1 else ""


def _beside_id(best: Best) -> str:
    if not math.isfinite(best.saved):
        return ""
    side = "di bawah" if best.saved >= 0 else "di atas"
    return f", {indonesian(percentage(abs(best.saved)))} {side} galat acuan {_number_id(best.baseline)}"


def _number_id(value: float) -> str:
    return indonesian(number(value))


def _label_id(label: str) -> str:
    """Settings keep their names; the numbers in them get the decimal comma."""
    return re.sub(r"(?<=\d)\.(?=\d)", ",", label)
