"""What the radio hears, and what is needed to read it."""

from __future__ import annotations

from privacy.catalogue.columns import LEARNING, TO_HUB, Category, Column, Table, Text

PUBLIC_TASK = Text(
    "task in the public interest (UU PDP art. 20(2)e), to be confirmed by a lawyer",
    "pelaksanaan tugas untuk kepentingan umum (UU PDP pasal 20 ayat (2) huruf e), perlu dipastikan ahli hukum",
)
NO_PERSONAL_DATA = Text("none needed: not personal data", "tidak diperlukan: bukan data pribadi")
FOURTEEN_DAYS = Text(
    "retention_days (14 unless set otherwise), then purged every hour and overwritten",
    "retention_days (14 hari bila tidak diatur lain), lalu dihapus tiap jam dan ditimpa",
)
FOR_GOOD = Text("kept as long as the store", "disimpan selama basis data ada")


def _heard(name: str, en: str, in_indonesian: str) -> Column:
    return Column(name, Text(en, in_indonesian), Category.SPECIFIC, LEARNING)


def _heard_in_room(name: str, en: str, in_indonesian: str) -> Column:
    """A column that a satellite tells the hub of its room, too."""
    return Column(name, Text(en, in_indonesian), Category.SPECIFIC, LEARNING | TO_HUB)


def _told_to_hub(name: str, en: str, in_indonesian: str) -> Column:
    return Column(name, Text(en, in_indonesian), Category.SPECIFIC, TO_HUB)


def _listened(name: str, en: str, in_indonesian: str) -> Column:
    return Column(name, Text(en, in_indonesian), Category.NONE, LEARNING)


SIGHTINGS = Table(
    "sightings",
    Text(
        "who was heard near the node, as rotating identifiers; contact minutes and exposure are worked out from it",
        "siapa yang terdengar di dekat node, berupa pengenal berganti; dasar menit kontak dan paparan",
    ),
    PUBLIC_TASK,
    FOURTEEN_DAYS,
    (
        _heard_in_room("window_index", "time, in windows of 20 s", "waktu, per jendela 20 detik"),
        _heard_in_room(
            "identifier", "rotating identifier, under its day's key", "pengenal berganti, terenkripsi kunci harian"
        ),
        _told_to_hub("receiver", "which radio heard it", "radio yang mendengar"),
        _listened("guessed", "dated by a clock not yet set", "waktu berasal dari jam yang belum disetel"),
        _heard_in_room("frames", "how often it was heard", "berapa kali terdengar"),
        _heard_in_room("rssi_sum", "loudness", "kuat sinyal"),
        _told_to_hub("rssi_square_sum", "loudness", "kuat sinyal"),
        _told_to_hub("rssi_min", "loudness", "kuat sinyal"),
        _told_to_hub("rssi_max", "loudness", "kuat sinyal"),
        _told_to_hub("metadata", "encrypted transmit power", "daya pancar terenkripsi"),
        _heard("logged_at", "when it was stored", "waktu disimpan"),
    ),
)
DAY_KEYS = Table(
    "day_keys",
    Text("keys of the identifiers of a day; without one, a day says nothing", "kunci pengenal per hari"),
    PUBLIC_TASK,
    FOURTEEN_DAYS,
    (
        Column("day", Text("which day", "hari")),
        Column("key", Text("the key", "kunci"), Category.SPECIFIC),
    ),
)
LISTENED = Table(
    "listened",
    Text("when the node listened, so that a quiet half hour is known to be quiet", "kapan node mendengarkan"),
    NO_PERSONAL_DATA,
    FOURTEEN_DAYS,
    (
        _listened("slot", "half hour", "setengah jam"),
        _listened("seconds", "how long", "berapa lama"),
        _listened("until_s", "until when", "sampai kapan"),
        _listened("first_logged_at", "when it was stored", "waktu disimpan"),
    ),
)
LISTENING = Table(
    "listening",
    Text("view over when the node listened", "tampilan kapan node mendengarkan"),
    NO_PERSONAL_DATA,
    FOURTEEN_DAYS,
    (
        _listened("slot", "half hour", "setengah jam"),
        _listened("seconds", "how long", "berapa lama"),
        _listened("until_s", "until when", "sampai kapan"),
        _listened("first_logged_at", "when it was stored", "waktu disimpan"),
    ),
)
GUESSED_STRETCHES = Table(
    "guessed_stretches",
    Text("when the node listened before its clock was set", "kapan node mendengarkan sebelum jam disetel"),
    NO_PERSONAL_DATA,
    FOURTEEN_DAYS,
    (
        _listened("from_s", "from when", "sejak kapan"),
        _listened("until_s", "until when", "sampai kapan"),
        _listened("slot", "half hour", "setengah jam"),
        _listened("logged_at", "when it was stored", "waktu disimpan"),
    ),
)
LISTENING_MARK = Table(
    "listening_mark",
    Text("where listening stands", "posisi terakhir pendengaran"),
    NO_PERSONAL_DATA,
    FOR_GOOD,
    (Column("one", Text("row", "baris")), Column("until_s", Text("until when", "sampai kapan"))),
)
GUESS = Table(
    "guess",
    Text("by which clock times were guessed", "jam yang dipakai untuk perkiraan waktu"),
    NO_PERSONAL_DATA,
    Text("until the clock is set", "sampai jam disetel"),
    (
        Column("one", Text("row", "baris")),
        Column("boot", Text("which start of the machine", "penyalaan mesin")),
        Column("offset_s", Text("clock's offset", "selisih jam")),
        Column("first_window", Text("first window", "jendela pertama")),
        Column("last_window", Text("last window", "jendela terakhir")),
    ),
)
SAVED_PAGE = Table(
    "saved_page",
    Text("the last page that the sensing process saved", "halaman terakhir dari proses pendengar"),
    NO_PERSONAL_DATA,
    FOR_GOOD,
    (
        Column("one", Text("row", "baris")),
        Column("run", Text("which run", "proses")),
        Column("page", Text("which page", "halaman")),
    ),
)
SITE_MODES = Table(
    "site_modes",
    Text("how the node was used, since when: in a zone, a room, or worn", "cara pemakaian node dan sejak kapan"),
    NO_PERSONAL_DATA,
    FOR_GOOD,
    (Column("since", Text("since when", "sejak kapan")), Column("mode", Text("how", "cara"))),
)
CALIBRATION_SESSIONS = Table(
    "calibration_sessions",
    Text("walks with a tape measure", "pengukuran jarak dengan meteran"),
    NO_PERSONAL_DATA,
    FOURTEEN_DAYS,
    (
        _listened("id", "number", "nomor"),
        _listened("adapter", "which radio", "radio"),
        _listened("transmitter", "which transmitter", "pemancar"),
        _listened("started_at", "when", "kapan"),
        _listened("logged_at", "when it was stored", "waktu disimpan"),
    ),
)
CALIBRATION_STEPS = Table(
    "calibration_steps",
    Text("places of such a walk, and how loud it was there", "titik pengukuran dan kuat sinyalnya"),
    NO_PERSONAL_DATA,
    FOURTEEN_DAYS,
    tuple(
        _listened(name, en, in_indonesian)
        for name, en, in_indonesian in (
            ("session", "which walk", "pengukuran"),
            ("position", "order", "urutan"),
            ("distance_m", "distance", "jarak"),
            ("blocked", "a body between", "terhalang badan"),
            ("frames", "frames heard", "jumlah sinyal"),
            ("rssi_sum", "loudness", "kuat sinyal"),
            ("rssi_square_sum", "loudness", "kuat sinyal"),
            ("rssi_min", "loudness", "kuat sinyal"),
            ("rssi_max", "loudness", "kuat sinyal"),
            ("windows_heard", "windows with a frame", "jendela bersinyal"),
            ("windows_listened", "windows listened", "jendela didengarkan"),
        )
    ),
)
CORRECTIONS = Table(
    "corrections",
    Text("what is added to loudness, by radio and transmitter", "koreksi kuat sinyal per radio dan pemancar"),
    NO_PERSONAL_DATA,
    Text("until measured anew, or the tag is erased", "sampai diukur ulang atau tag dihapus"),
    (
        Column("kind", Text("radio or transmitter", "radio atau pemancar")),
        Column(
            "name", Text("which; of a transmitter a tag's label", "nama; untuk pemancar label tag"), Category.GENERAL
        ),
        Column("offset_db", Text("correction", "koreksi")),
        Column("frames_per_window", Text("frames a window at best", "sinyal per jendela")),
        Column("set_at", Text("when", "kapan")),
    ),
)
RADIO = (
    SIGHTINGS,
    DAY_KEYS,
    LISTENED,
    LISTENING,
    GUESSED_STRETCHES,
    LISTENING_MARK,
    GUESS,
    SAVED_PAGE,
    SITE_MODES,
    CALIBRATION_SESSIONS,
    CALIBRATION_STEPS,
    CORRECTIONS,
)
HUB_SOURCES = {
    "sightings": (
        "window_index",
        "identifier",
        "receiver",
        "frames",
        "rssi_sum",
        "rssi_square_sum",
        "rssi_min",
        "rssi_max",
        "metadata",
    )
}
"""What a satellite tells the hub of its room."""
