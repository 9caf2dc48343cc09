"""The node's own books, its letter boxes, its staff and its state."""

from __future__ import annotations

from privacy.catalogue.columns import Category, Column, Table, Text
from privacy.catalogue.radio import FOR_GOOD, NO_PERSONAL_DATA

DUTY = Text(
    "legal duty to account for processing (UU PDP art. 20(2)c, 31)",
    "kewajiban hukum mencatat pemrosesan (UU PDP pasal 20 ayat (2) huruf c, pasal 31)",
)
EMPLOYMENT = Text(
    "contract with staff (UU PDP art. 20(2)b), to be confirmed by a lawyer",
    "perjanjian dengan petugas (UU PDP pasal 20 ayat (2) huruf b), perlu dipastikan ahli hukum",
)


def _plain(*columns: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(name, Text(en, in_indonesian)) for name, en, in_indonesian in columns)


BOOKS = (
    Table(
        "privacy_ledger",
        Text("what learning from records has cost of privacy", "biaya privasi dari pembelajaran"),
        DUTY,
        FOR_GOOD,
        _plain(
            ("row", "number", "nomor"),
            ("kind", "reserved or spent", "dipesan atau dipakai"),
            ("at", "when", "kapan"),
            ("message_id", "for which task", "untuk tugas"),
            ("purpose", "what for, from which columns", "tujuan dan kolom sumber"),
            ("events", "how much noise", "besar derau"),
            ("entry", "which reservation", "pemesanan"),
            ("hash", "chain", "rantai hash"),
        ),
    ),
    Table(
        "audit_log",
        Text("what left the node, when, to whom", "apa yang keluar dari node, kapan, kepada siapa"),
        DUTY,
        FOR_GOOD,
        _plain(
            ("row", "number", "nomor"),
            ("at", "when", "kapan"),
            ("kind", "kind of message", "jenis pesan"),
            ("recipient", "to whom", "kepada"),
            ("bytes", "size", "ukuran"),
            ("sha256", "hash of the message", "hash pesan"),
            ("entries", "which entries of the ledger paid", "entri buku privasi"),
            ("note", "what it was", "isi"),
            ("hash", "chain", "rantai hash"),
        ),
    ),
    Table(
        "receipts",
        Text("that something was erased; names nobody", "bukti penghapusan; tanpa nama"),
        DUTY,
        FOR_GOOD,
        _plain(
            ("row", "number", "nomor"),
            ("at", "when", "kapan"),
            ("receipt", "what and how much", "apa dan berapa"),
            ("signature", "of this node", "tanda tangan node"),
            ("certificate", "of this node", "sertifikat node"),
            ("hash", "chain", "rantai hash"),
        ),
    ),
    Table(
        "inbox",
        Text("tasks of the centre, and the sealed reply to each", "tugas dari pusat dan balasan tersegel"),
        NO_PERSONAL_DATA,
        Text("a day after the task expired", "sehari setelah tugas kedaluwarsa"),
        _plain(
            ("id", "number", "nomor"),
            ("message_id", "which message", "pesan"),
            ("run_id", "which run", "pelatihan"),
            ("payload", "the task, sealed", "tugas tersegel"),
            ("expires_at", "until when", "sampai"),
            ("attempts", "attempts", "percobaan"),
            ("reply", "what went out, sealed", "balasan tersegel"),
            ("in_file", "whether it lies in a file", "dalam berkas"),
        ),
    ),
    Table(
        "outbox",
        Text("what waits to be sent, sealed", "yang menunggu dikirim, tersegel"),
        NO_PERSONAL_DATA,
        Text("until the broker has it, or it expires", "sampai diterima broker atau kedaluwarsa"),
        _plain(
            ("id", "number", "nomor"),
            ("message_id", "which message", "pesan"),
            ("topic", "topic", "topik"),
            ("payload", "sealed", "tersegel"),
            ("expires_at", "until when", "sampai"),
        ),
    ),
    Table(
        "meta",
        Text(
            "single facts, and what a learning app keeps between rounds", "fakta tunggal dan keadaan aplikasi belajar"
        ),
        NO_PERSONAL_DATA,
        Text(
            "an app's state until its run has been silent for a record lifetime", "keadaan aplikasi sampai kedaluwarsa"
        ),
        (
            Column("name", Text("which", "nama")),
            Column(
                "value",
                Text("may hold an app's state, made of records", "bisa memuat keadaan aplikasi"),
                Category.SPECIFIC,
            ),
        ),
    ),
    Table(
        "staff",
        Text("who may read the node's page", "siapa yang boleh membaca halaman node"),
        EMPLOYMENT,
        Text("until removed", "sampai dihapus"),
        (
            Column("name", Text("name", "nama"), Category.GENERAL),
            Column("password", Text("Argon2id of it", "hash Argon2id"), Category.GENERAL),
            *_plain(("created_at", "since when", "sejak"), ("changed_at", "password set", "sandi diubah")),
        ),
    ),
    Table(
        "staff_sessions",
        Text("who is signed in", "siapa yang masuk"),
        EMPLOYMENT,
        Text("until signed out, or a day after its last use", "sampai keluar, atau sehari setelah dipakai"),
        (
            Column("digest", Text("hash of the session's token", "hash token")),
            Column("name", Text("name", "nama"), Category.GENERAL),
            *_plain(("opened_at", "since when", "sejak"), ("used_at", "last used", "terakhir dipakai")),
        ),
    ),
    Table(
        "sign_in_failures",
        Text("failed sign-ins, to slow guessing down", "gagal masuk, untuk memperlambat tebakan"),
        EMPLOYMENT,
        Text(
            "until a sign-in succeeds, or a day later at the next failure",
            "sampai berhasil masuk, atau sehari kemudian",
        ),
        (
            Column("account", Text("HMAC of the name typed", "HMAC nama"), Category.GENERAL),
            *_plain(
                ("failures", "how many", "jumlah"),
                ("last_at", "last", "terakhir"),
                ("locked_until", "locked", "terkunci"),
            ),
        ),
    ),
    Table(
        "health",
        Text("how the parts of this node are", "keadaan bagian-bagian node"),
        NO_PERSONAL_DATA,
        Text("overwritten", "ditimpa"),
        _plain(
            ("part", "which", "bagian"),
            ("state", "how", "keadaan"),
            ("detail", "for a technician", "rincian"),
            ("since", "since when", "sejak"),
            ("at", "when it was said", "kapan"),
        ),
    ),
)
