"""A node's configuration: one TOML file, and `JAGA_…` environment variables that win over it.

`JAGA_LINK__BROKER=mqtts://…` sets `broker` of the table `[link]`; two underscores separate the levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from edge.keys.rotation import finish
from edge.keys.wrapped import WrappedKey
from edge.lan import LocalUrl
from edge.learning.bounds import Allowed
from edge.learning.protocol import JAGA_APP
from edge.page.address import Listen
from edge.store.database import KEY_BYTES
from edge.store.retention import PURGE_EVERY_S
from privacy.accounting.ledger import Budget, Limit
from privacy.boundary.messages import EXPORT_BYTES

DAY_S = 86400.0


class BadConfig(ValueError):
    """The configuration cannot be used; the message names the file and each wrong key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreTable(_Table):
    """`[store]`: the encrypted database.

    `wrapped_key` is the store's key, wrapped by a key source (`jaga-node keys`). Where that file is not, `key_file`
    holds the key itself: 32 bytes as 64 hexadecimal digits. `anchor` notes where the node's books end, so that an old
    copy of the store is known for one; on another medium than the store it tells of more.
    """

    path: Path = Path("node.db")
    key_file: Path = Path("store.key")
    wrapped_key: Path = Path("store.key.json")
    anchor: Path = Path("books.anchor")
    retention_days: Annotated[float, Field(gt=0, le=365)] = 14.0


class LinkTable(_Table):
    """`[link]`: the broker. `session_days` is for how long the broker keeps tasks for a node that is away."""

    broker: str = "mqtts://localhost:8883"
    session_days: Annotated[float, Field(ge=0, le=49)] = 7.0


Adapters = Annotated[tuple[Annotated[str, Field(pattern=r"^hci\d+$")], ...], Field(min_length=1, max_length=256)]
Speed = Annotated[float, Field(gt=0)] | None


class BluepyTable(_Table):
    """`[sensing.scanner]` with `kind = "bluepy"`: a radio, listened to passively; the usual one on a Pi.

    The position of an adapter is its receiver number. `helper` is another bluepy-helper than the installed one.
    """

    kind: Literal["bluepy"]
    adapters: Adapters = ("hci0",)
    helper: Path | None = None


class BleakTable(_Table):
    """`[sensing.scanner]` with `kind = "bleak"`: a radio that bluetoothd owns."""

    kind: Literal["bleak"]
    adapters: Adapters = ("hci0",)


class CaptureTable(_Table):
    """`[sensing.scanner]` with `kind = "btsnoop"`: a raw capture of a controller."""

    kind: Literal["btsnoop"]
    capture: Path
    until_s: float | None = None
    speed: Speed = None


class Exp34Table(_Table):
    """`[sensing.scanner]` with `kind = "exp34"`: measurements between phones; `receiver` is the node's."""

    kind: Literal["exp34"]
    measurements: Path
    receiver: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    until_s: float | None = None
    speed: Speed = None


class NistTable(_Table):
    """`[sensing.scanner]` with `kind = "nist"`: measurements between two Raspberry Pi."""

    kind: Literal["nist"]
    measurements: Path
    until_s: float | None = None
    speed: Speed = None


class GeneratorTable(_Table):
    """`[sensing.scanner]` with `kind = "generator"`: made-up devices; from now on, unless `from_s` says otherwise."""

    kind: Literal["generator"]
    devices: Annotated[int, Field(ge=1, le=100_000)]
    frames_per_s: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    shown_as: Literal["gaen", "tag"] = "gaen"
    from_s: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    speed: Speed = 1.0


class ReplayTable(_Table):
    """`[sensing.scanner]` with `kind = "replay"`: recorded contacts in the place of a radio."""

    kind: Literal["replay"]
    contacts: Path
    zone: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    metadata: Path | None = None
    until_s: float | None = None
    speed: Speed = None


class SensingTable(_Table):
    """`[sensing]`: what the node listens with; without a scanner it only learns from what it has."""

    scanner: (
        Annotated[
            BluepyTable | BleakTable | ReplayTable | CaptureTable | Exp34Table | NistTable | GeneratorTable,
            Field(discriminator="kind"),
        ]
        | None
    ) = None

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the node's own adapters; their place is the receiver's number. None where a recording is heard."""
        return self.scanner.adapters if isinstance(self.scanner, BluepyTable | BleakTable) else ()


class ReceiverTable(_Table):
    """`[[site.receivers]]`: where one receiver of this site hangs; number 0 is the node's own adapter."""

    number: Annotated[int, Field(ge=0, le=255)]
    name: str = ""
    room: str
    x_m: float = 0.0
    y_m: float = 0.0


class HubTable(_Table):
    """`[site.hub]`: the node of this room that this one, a satellite, tells what it hears."""

    party: str
    url: str
    every_s: Annotated[float, Field(ge=1)] = 300.0

    @field_validator("url")
    @classmethod
    def _is_local(cls, url: str) -> str:
        LocalUrl.parse(url)
        return url


class SatelliteTable(_Table):
    """`[[site.reception.satellites]]`: a node that may tell this one what it hears, and the receiver it stands for."""

    party: str
    receiver: Annotated[int, Field(ge=1, le=255)]


class ReceptionTable(_Table):
    """`[site.reception]`: this node is its room's hub; satellites reach it at `listen`, on the site's own network."""

    listen: str
    satellites: Annotated[tuple[SatelliteTable, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> ReceptionTable:
        Listen.parse(self.listen)
        for of in ("party", "receiver"):
            values = [getattr(satellite, of) for satellite in self.satellites]
            if len({*values}) < len(values):
                raise ValueError(f"two satellites have one {of}: give each its own")
        return self


class SiteTable(_Table):
    """`[site]`: what the node stands for, and what is known of its radio surroundings.

    `adjacent` are pairs of rooms whose receivers can hear one tag at once. `wearer` is the label of the tag that the
    wearer of the node (`mode = "person"`) carries as well. `tx_power_dbm` is taken for tags that do not say theirs.
    """

    mode: Literal["zone", "room", "person"] = "zone"
    room: str = ""
    receivers: tuple[ReceiverTable, ...] = ()
    adjacent: tuple[tuple[str, str], ...] = ()
    wearer: str = ""
    tx_power_dbm: Annotated[float, Field(ge=-127, le=20)] = -24.0
    hub: HubTable | None = None
    reception: ReceptionTable | None = None

    @model_validator(mode="after")
    def _fits(self) -> SiteTable:
        numbers = [receiver.number for receiver in self.receivers]
        if len({*numbers}) < len(numbers):
            raise ValueError(f"receivers have the numbers {sorted(numbers)}: give each number once")
        rooms = {self.room, *(receiver.room for receiver in self.receivers)}
        if unknown := sorted({room for pair in self.adjacent for room in pair} - rooms):
            raise ValueError(
                f"adjacent names {', '.join(unknown)}, where no receiver is: name rooms as the receivers do"
            )
        if self.mode == "room" and len(self.receivers) < 2:
            raise ValueError("mode room needs two receivers or more, better three: list them in [[site.receivers]]")
        return self


class TracingTable(_Table):
    """`[tracing]`: diagnosis keys of one region, checked against the health authority's public key (PEM, P-256).

    `infectiousness` are the weights of a day of standard and of high infectiousness. Alerts go to `webhook`, an address
    on the site's own network, signed with what is in the file `webhook_secret`.
    """

    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")] | None = None
    authority_key: Path | None = None
    authority_key_id: str = "510"
    authority_key_version: str = "v1"
    webhook: str | None = None
    webhook_secret: Path | None = None
    webhook_authority: Path | None = None
    attenuation_db: tuple[float, float, float] = (55.0, 63.0, 73.0)
    weights: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 0.0)
    infectiousness: tuple[Annotated[float, Field(ge=0, le=2.5)], Annotated[float, Field(ge=0, le=2.5)]] = (0.3, 1.0)
    alert_minutes: Annotated[float, Field(gt=0)] = 15.0
    max_export_bytes: Annotated[int, Field(ge=1024, le=EXPORT_BYTES)] = 2 * 1024 * 1024

    @model_validator(mode="after")
    def _is_complete(self) -> TracingTable:
        if (self.region is None) != (self.authority_key is None):
            raise ValueError(
                "region and authority_key come together: set both, with the public key (PEM) of the health authority"
            )
        if self.webhook is not None:
            LocalUrl.parse(self.webhook)
            if self.webhook_secret is None:
                raise ValueError(
                    "webhook needs webhook_secret, a file that the server has too: make it with `openssl rand -hex 32`"
                )
        if list(self.attenuation_db) != sorted({*self.attenuation_db}):
            raise ValueError(f"attenuation_db {self.attenuation_db} do not rise: give three that do")
        if list(self.weights) != sorted(self.weights, reverse=True) or not 0 <= self.weights[3] <= self.weights[0] <= 1:
            raise ValueError(f"weights {self.weights} are within 0..1 and do not rise with attenuation")
        return self


class PageTable(_Table):
    """`[page]`: the node's own page on the site network, off unless there is such a table."""

    listen: str = "127.0.0.1:8080"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    hosts: tuple[str, ...] = ()
    timezone: str = "Asia/Jakarta"
    language: Literal["id", "en"] = "id"
    idle_minutes: Annotated[float, Field(gt=0, le=240)] = 15.0
    session_hours: Annotated[float, Field(gt=0, le=24)] = 8.0

    @model_validator(mode="after")
    def _is_for_the_site_alone(self) -> PageTable:
        listen = Listen.parse(self.listen)
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key come together: give both, or none")
        if not listen.loopback and self.tls_certificate is None:
            raise ValueError(
                f"listen is {self.listen}, which others can reach, and passwords would cross the network in clear: set "
                'tls_certificate = "page.crt" and tls_key = "page.key", and make both with '
                "`jaga-node page NODE.toml --make-certificate`; or listen on 127.0.0.1"
            )
        return self

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as why:
            raise ValueError(
                f"{name!r} is no time zone: Asia/Jakarta, Asia/Makassar, Asia/Jayapura, or another IANA name"
            ) from why
        return name


class LearningTable(_Table):
    """`[learning]`: the Flower app that trains here, and how long an idle trainer keeps its memory.

    `speed` is how many times as fast this machine is as a Raspberry Pi Zero 2 W. Answers leave at a time that follows
    from the task and this number; what is not learnt by then is not learnt. `hold_answers = false` sends them when they
    are ready, so that their time says how many records there are: for a laboratory.
    """

    app: str = JAGA_APP
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0
    hold_answers: bool = True
    linger_s: Annotated[float, Field(ge=0)] = 20.0
    threads: Annotated[int, Field(ge=1)] = 1
    timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    attempts: Annotated[int, Field(ge=1)] = 2
    node_config: dict[str, str | int | float | bool] = {}


class UnitTable(_Table):
    """`[privacy.units.NAME]`: the limit of a privacy unit (`slot`, `session`, `day`, `site`), if it has one of its own.

    `day` is all that one person leaves at this site in a day, by all `nodes_of_site`.
    """

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6


class AllowTable(_Table):
    """`[privacy.allow]`: which tasks, mechanisms and privacy units may run here. A task of another package is added by
    name."""

    tasks: tuple[str, ...] = Allowed().tasks
    mechanisms: tuple[Literal["dp-sgd", "shared-noise"], ...] = ("dp-sgd", "shared-noise")
    units: tuple[Literal["record", "day", "site"], ...] = ("record", "day", "site")

    def allowed(self) -> Allowed:
        return Allowed(self.tasks, self.mechanisms, self.units)


class PrivacyTable(_Table):
    """`[privacy]`: what this node spends on one record's lifetime, at most. It is the node that decides.

    `secure_sum = "required"` refuses whatever is not part of a secure sum of two aggregators; `"allowed"` does other
    work, too. `helper_key` is the fingerprint that the second organisation gave you (`jaga-central helper show`): no
    other helper is believed, and without it none. `"any"` believes whom the federation's authority calls a helper.
    `min_cohort` is of how many nodes that organisation makes a sum at least: noise that nodes share goes by it, and a
    helper that makes smaller ones is refused. `nodes_of_site` is by how many nodes one person may be heard on one day:
    a satellite and its hub are two, as are two nodes in rooms of one building. A person's day is charged for all of
    them.
    """

    epsilon: Annotated[float, Field(gt=0)] = 8.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    record_lifetime_days: Annotated[float, Field(gt=0)] = 15.0
    allow_unaccounted_apps: bool = False
    secure_sum: Literal["allowed", "required"] = "required"
    helper_key: Annotated[str, Field(pattern=r"^([0-9a-f]{64}|any)$")] | None = None
    min_cohort: Annotated[int, Field(ge=2)] = 3
    nodes_of_site: Annotated[int, Field(ge=1, le=1000)] = 1
    units: dict[Annotated[str, Field(pattern=r"^[a-z]{1,32}$")], UnitTable] = {}
    allow: AllowTable = AllowTable()

    def budget(self) -> Budget:
        units = {name: Limit(unit.epsilon, unit.delta) for name, unit in self.units.items()}
        return Budget(self.epsilon, self.delta, self.record_lifetime_days * DAY_S, units, self.nodes_of_site)


class NodeConfig(BaseSettings):
    """Everything a node is told. Paths are relative to the file's own folder."""

    model_config = SettingsConfigDict(env_prefix="JAGA_", env_nested_delimiter="__", extra="forbid", frozen=True)

    name: str
    credentials: Path = Path("credentials")
    store: StoreTable = StoreTable()
    link: LinkTable = LinkTable()
    sensing: SensingTable = SensingTable()
    site: SiteTable = SiteTable()
    tracing: TracingTable = TracingTable()
    page: PageTable | None = None
    learning: LearningTable = LearningTable()
    privacy: PrivacyTable = PrivacyTable()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path) -> NodeConfig:
        """Read a file.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        try:
            values = TomlConfigSettingsSource(cls, toml_file=path)()
            if not path.exists():
                raise BadConfig(f"{path}: no such file; `jaga-node init` makes one")
            config = cls(**values)
        except ValidationError as why:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in why.errors())
            raise BadConfig(f"{path}: {wrong}") from why
        except (OSError, ValueError) as why:
            raise why if isinstance(why, BadConfig) else BadConfig(f"{path}: {why}") from why
        oldest_days = config.store.retention_days + PURGE_EVERY_S / DAY_S
        if config.privacy.record_lifetime_days < oldest_days:
            raise BadConfig(
                f"{path}: privacy.record_lifetime_days is {config.privacy.record_lifetime_days:g}, and a record can be "
                f"{oldest_days:.3g} days old: store.retention_days {config.store.retention_days:g} and the hour until "
                f"it is deleted. Set record_lifetime_days to {config.store.retention_days + 1:g}, or retention_days to "
                f"{max(config.privacy.record_lifetime_days - 1, 0):g} / masa anggaran harus lebih panjang dari masa "
                "simpan"
            )
        return config._resolved(path.resolve().parent)

    def store_key(self) -> bytes:
        """The store's key.

        Raises:
            BadConfig: the key file is missing or holds something else.
            KeyUnavailable: the key source does not give it.
        """
        wrapped = WrappedKey(self.store.wrapped_key)
        if wrapped.path.exists():
            return finish(wrapped, self.store.path)
        file = self.store.key_file
        try:
            key = bytes.fromhex(file.read_text("ascii").strip())
        except (OSError, ValueError) as why:
            raise BadConfig(f"{file}: no key there ({why}); it holds {2 * KEY_BYTES} hexadecimal digits") from why
        if len(key) != KEY_BYTES:
            raise BadConfig(f"{file}: a key has {2 * KEY_BYTES} hexadecimal digits, this one {2 * len(key)}")
        return key

    def _resolved(self, folder: Path) -> NodeConfig:
        store = self.store.model_copy(
            update={name: folder / getattr(self.store, name) for name in ("path", "key_file", "wrapped_key", "anchor")}
        )
        sensing = self.sensing
        if sensing.scanner is not None:
            found = {name: folder / value for name, value in sensing.scanner if isinstance(value, Path)}
            sensing = sensing.model_copy(update={"scanner": sensing.scanner.model_copy(update=found)})
        page = self.page
        if page is not None and page.tls_certificate is not None and page.tls_key is not None:
            files = {"tls_certificate": folder / page.tls_certificate, "tls_key": folder / page.tls_key}
            page = page.model_copy(update=files)
        tracing = self.tracing
        files = {
            name: folder / path
            for name in ("authority_key", "webhook_secret", "webhook_authority")
            if (path := getattr(tracing, name)) is not None
        }
        return self.model_copy(
            update={
                "credentials": folder / self.credentials,
                "store": store,
                "sensing": sensing,
                "page": page,
                "tracing": tracing.model_copy(update=files),
            }
        )
