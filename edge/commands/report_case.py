"""Reporting a case, in a clinic that confirmed it. / Melaporkan kasus, di klinik yang memastikannya."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table

from edge.commands.terminal import ConfigFile, explained, fail, ok, out
from edge.config import DAY_S, NodeConfig
from edge.store.database import Database
from edge.store.tags import Tags, UnknownLabel
from edge.store.trusted_clock import TrustedClock
from edge.tracing.report import BadReport, UnknownAuthority, case_keys, consent_texts, health_certificate, report
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import Gate
from privacy.boundary.messages import Case
from privacy.identity.authority import Identity

WRONG_USAGE = 2
YES = frozenset({"yes", "ya"})


def report_case(
    config: ConfigFile,
    tag: Annotated[str, typer.Option(help="Label of the person's tag. / Label tag orang itu.")],
    onset: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"], help="First day of symptoms, or of the test. / Hari pertama gejala, atau tes."
        ),
    ],
    consent: Annotated[str, typer.Option(help="The text that is read out: 1-en or 1-id. / Naskah yang dibacakan.")],
    witness: Annotated[str, typer.Option(help="Who reads it out. / Petugas yang membacakan.")],
    consent_given: Annotated[
        bool,
        typer.Option("--consent-given", help="It was read out and agreed to before. / Sudah dibacakan dan disetujui."),
    ] = False,
) -> None:
    """Send a confirmed case's day keys to the health authority. / Mengirim kunci harian kasus ke otoritas kesehatan.

    It publishes these keys and nothing else, and shows what went out. / Hanya kunci itu yang dikirim.
    """

    def work() -> None:
        loaded = NodeConfig.load(config)
        identity = Identity.load(loaded.credentials)
        store = Database(loaded.store.path, loaded.store_key()).connect()
        now = time.time()
        try:
            texts = consent_texts(consent)
            recipient = health_certificate(store, identity)
            onset_day = int(onset.replace(tzinfo=UTC).timestamp() // DAY_S)
            case = Case(case_keys(Tags(store).get(tag), onset_day, now), consent)
        except (BadReport, UnknownAuthority, UnknownLabel) as why:
            fail(WRONG_USAGE, why)
        if not witness.strip():
            fail(WRONG_USAGE, "name the witness who reads the text out / sebutkan petugas yang membacakan naskah")
        for name, text in texts.items():
            out.print(Panel(text.strip(), title=name), highlight=False, markup=False)
        _show(case)
        if not consent_given and not _agreed():
            out.print("Nothing was sent. / Tidak ada yang dikirim.")
            raise typer.Exit(1)
        rules = loaded.privacy
        ledger = PrivacyLedger(store, rules.budget(), TrustedClock(store).now)
        done = report(
            store,
            identity,
            Gate(identity, AuditLog(store), ledger),
            case,
            witness=witness.strip(),
            recipient=recipient,
            now=now,
        )
        ok(
            "queued for the health authority / antre untuk otoritas kesehatan",
            f"{len(case.keys)} keys, {len(done.released.payload):,} bytes sealed to {done.recipient}, "
            f"SHA-256 {done.released.sha256.hex()}",
        )
        out.print("The running node sends it. `jaga-node privacy` lists it. / Node yang berjalan mengirimkannya.")

    explained(work)


def _show(case: Case) -> None:
    """What goes out, key by key; the keys themselves are not for a screen."""
    table = Table("day / hari (UTC)", "days since onset / hari sejak gejala", "key / kunci")
    for key in case.keys:
        day = datetime.fromtimestamp(key.rolling_start * 600, UTC)
        table.add_row(f"{day:%Y-%m-%d}", str(key.days_since_onset), "16 bytes")
    out.print(table)
    out.print(f"and the consent's version {case.consent}; nothing else / dan versi persetujuan; tidak ada yang lain")


def _agreed() -> bool:
    answer: str = typer.prompt(
        "The person (or guardian) has heard this text and agrees: yes? / "
        "Orang itu (atau walinya) telah mendengar naskah ini dan setuju: ya?",
        default="no",
    )
    return answer.strip().lower() in YES
