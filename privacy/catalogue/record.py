"""The record of processing activities (UU PDP art. 31), out of the catalogue: Markdown in both languages."""

from __future__ import annotations

from privacy.catalogue.columns import Catalogue, Category, Column, Table
from privacy.catalogue.use import CATALOGUE

HEAD = """# Personal data on a node / Data pribadi di sebuah node

The record of processing activities: every column of a node's encrypted database, what it is for, how long it stays, and
by which mechanism, if any, something derived from it may leave. *Catatan kegiatan pemrosesan: setiap kolom basis data
terenkripsi sebuah node, tujuannya, masa simpannya, dan mekanisme keluarnya bila ada.*

Categories follow Law 27 of 2022 on personal data protection (UU PDP), article 4: *general* and *specific*; sightings
and exposures count as specific (they can say something of a person's health, and in schools they are of children).
Legal bases name article 20, this record is that of article 31. **A lawyer has to confirm the legal basis for each
institution.** *Dasar hukum harus dipastikan oleh ahli hukum untuk tiap lembaga.*

What may leave: `dp-sgd` and `shared-noise`, a model's update with noise; `noised-metrics`, sums with noise;
`consented`, the day keys of a confirmed case under the person's consent. Two things go to a machine in the same
building and no further: `room-hub`, what a satellite heard, to the hub of its room; `site-alert`, a day, a pseudonym, a
room and minutes, to the site's own server. Everything else stays. A node's gate refuses a message whose sources are not
so declared. Print this from a node with `jaga-node privacy record`. A person can have
what a node holds of their tag erased: see [erasure](erasure.md).
"""
WORDS = {
    Category.NONE: ("not personal", "bukan data pribadi"),
    Category.GENERAL: ("general", "umum"),
    Category.SPECIFIC: ("specific", "spesifik"),
}


def record(catalogue: Catalogue = CATALOGUE) -> str:
    """The whole record."""
    return HEAD + "".join(_section(table) for table in catalogue.tables)


def _section(table: Table) -> str:
    en, in_indonesian = WORDS[table.category]
    rows = "".join(_row(column) for column in table.columns)
    return f"""
## {table.name}
{table.purpose.en.capitalize()}. *{table.purpose.id.capitalize()}.*

- Category / kategori: **{en}** / {in_indonesian}
- Legal basis / dasar hukum: {table.basis.en} / *{table.basis.id}*
- Retention / masa simpan: {table.retention.en} / *{table.retention.id}*

| column / kolom | meaning / arti | category / kategori | may leave by / boleh keluar lewat |
|---|---|---|---|
{rows}"""


def _row(column: Column) -> str:
    en, in_indonesian = WORDS[column.category]
    leaves = ", ".join(f"`{mechanism.value}`" for mechanism in sorted(column.leaves)) or "–"
    return f"| `{column.name}` | {column.meaning.en} / *{column.meaning.id}* | {en} / *{in_indonesian}* | {leaves} |\n"
