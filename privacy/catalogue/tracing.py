"""Tags, diagnosis keys, exposures and cases."""

from __future__ import annotations

from privacy.catalogue.columns import CONSENT, NOTHING, TO_SITE_SERVER, Category, Column, Table, Text
from privacy.catalogue.radio import FOURTEEN_DAYS, PUBLIC_TASK

CONSENT_BASIS = Text(
    "the person's explicit consent (UU PDP art. 20(2)a)", "persetujuan eksplisit (UU PDP pasal 20 ayat (2) huruf a)"
)

TAGS = Table(
    "tags",
    Text("tags that this site handed out, under pseudonyms", "tag yang dibagikan situs ini, dengan nama samaran"),
    CONSENT_BASIS,
    Text("until `jaga-node erase`", "sampai `jaga-node erase`"),
    (
        Column("label", Text("pseudonym", "nama samaran"), Category.GENERAL),
        Column(
            "secret",
            Text("secret of the tag's identifiers", "rahasia pengenal tag"),
            Category.SPECIFIC,
            CONSENT,
        ),
        Column("enrolled_at", Text("since when", "sejak kapan"), Category.GENERAL, CONSENT),
    ),
)
KEY_BATCHES = Table(
    "key_batches",
    Text("published diagnosis keys that came in", "kunci diagnosis yang diterima"),
    PUBLIC_TASK,
    Text("until past their use; the file until matched", "sampai tidak berguna; berkas sampai dicocokkan"),
    tuple(
        Column(name, Text(en, in_indonesian))
        for name, en, in_indonesian in (
            ("id", "number", "nomor"),
            ("digest", "hash of the file", "hash berkas"),
            ("region", "region", "wilayah"),
            ("batch", "batch", "kelompok"),
            ("starts_at", "from", "sejak"),
            ("ends_at", "until", "sampai"),
            ("received_at", "when it came", "diterima"),
            ("export", "the public file", "berkas publik"),
            ("attempts", "attempts to match", "percobaan"),
            ("matched_at", "when it was matched", "dicocokkan"),
        )
    ),
)
SEEN_KEYS = Table(
    "seen_keys",
    Text("every published key, so that one counts once", "semua kunci terbitan, agar dihitung sekali"),
    PUBLIC_TASK,
    Text("until past their use", "sampai tidak berguna"),
    (Column("key", Text("public key", "kunci publik")), Column("day", Text("its day", "hari"))),
)
TOLD = ("day", "subject", "room", "minutes")
"""What the site's own server is told of an alert."""
EXPOSURES = Table(
    "exposures",
    Text("who of this site was near a case; to warn them", "siapa di situs ini yang dekat kasus; untuk peringatan"),
    PUBLIC_TASK,
    FOURTEEN_DAYS,
    (
        Column("id", Text("number", "nomor")),
        *(
            Column(name, Text(en, in_indonesian), Category.SPECIFIC, TO_SITE_SERVER if name in TOLD else NOTHING)
            for name, en, in_indonesian in (
                ("day", "day", "hari"),
                ("subject", "pseudonym of the tag", "nama samaran tag"),
                ("mode", "how the node was used", "cara pemakaian node"),
                ("room", "room", "ruang"),
                ("minutes", "weighted minutes", "menit berbobot"),
                ("score", "score", "skor"),
                ("closeness", "probability of 2 m or less", "peluang 2 m atau kurang"),
                ("found_at", "when it was found", "ditemukan"),
                ("alerted_at", "when it was told", "diperingatkan"),
                ("seen_at", "when staff saw it", "dilihat"),
            )
        ),
        Column("seen_by", Text("which member of staff", "petugas"), Category.GENERAL),
        Column("attempts", Text("attempts to tell the site's server", "percobaan pengiriman")),
        Column("next_try_at", Text("next attempt", "percobaan berikut")),
        Column("delivered_at", Text("when it was delivered", "terkirim")),
    ),
)
CASES = Table(
    "cases",
    Text("that a case was reported, under whose witness; not whose case", "bukti pelaporan kasus; bukan kasus siapa"),
    CONSENT_BASIS,
    Text("a record lifetime and 14 days after the report", "masa simpan catatan ditambah 14 hari sejak pelaporan"),
    (
        Column("message_id", Text("which message", "pesan")),
        Column("reported_at", Text("when", "kapan")),
        Column("consent", Text("version of the text agreed to", "versi naskah persetujuan")),
        Column("witness", Text("member of staff", "petugas saksi"), Category.GENERAL),
        Column("key_count", Text("how many keys went out", "jumlah kunci")),
    ),
)
CASE_SOURCES = {"tags": ("secret", "enrolled_at")}
"""What a case that is reported is made of."""
ALERT_SOURCES = {"exposures": TOLD}
"""What an alert to the site's own server is made of."""

TRACING = (TAGS, KEY_BATCHES, SEEN_KEYS, EXPOSURES, CASES)
