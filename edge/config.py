"""A node's configuration: one TOML file, and `JAGA_…` environment variables that win over it.

`JAGA_LINK__BROKER=mqtts://…` sets `broker` of the table `[link]`; two underscores separate the levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from edge.store.database import KEY_BYTES

DAY_S = 86400.0


class BadConfig(ValueError):
    """The configuration cannot be used; the message names the file and each wrong key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreTable(_Table):
    """`[store]`: the encrypted database.

    `key_file` holds 32 bytes as 64 hexadecimal digits.
    """

    path: Path = Path("node.db")
    key_file: Path = Path("store.key")
    retention_days: Annotated[float, Field(gt=0, le=365)] = 14.0


class LinkTable(_Table):
    """`[link]`: the broker. `session_days` is for how long the broker keeps tasks for a node that is away."""

    broker: str = "mqtts://localhost:8883"
    session_days: Annotated[float, Field(ge=0, le=49)] = 7.0


class ReplayTable(_Table):
    """`[sensing.scanner]` with `kind = "replay"`: recorded contacts in the place of a radio."""

    kind: Literal["replay"]
    contacts: Path
    zone: str
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    metadata: Path | None = None
    until_s: float | None = None
    speed: Annotated[float, Field(gt=0)] | None = None


class SensingTable(_Table):
    """`[sensing]`: what the node listens with; without a scanner it only learns from what it has."""

    scanner: ReplayTable | None = None


class ReceiverTable(_Table):
    """`[[site.receivers]]`: where one receiver of this site hangs; number 0 is the node's own adapter."""

    number: Annotated[int, Field(ge=0, le=255)]
    name: str = ""
    room: str
    x_m: float = 0.0
    y_m: float = 0.0


class SiteTable(_Table):
    """`[site]`: what the node stands for. `adjacent` are pairs of rooms whose receivers can hear one tag at once."""

    mode: Literal["zone", "room", "person"] = "zone"
    room: str = ""
    receivers: tuple[ReceiverTable, ...] = ()
    adjacent: tuple[tuple[str, str], ...] = ()


class TracingTable(_Table):
    """`[tracing]`: diagnosis keys of one region, checked against the health authority's public key (PEM, P-256)."""

    region: str | None = None
    authority_key: Path | None = None
    webhook: str | None = None
    attenuation_db: tuple[float, float, float] = (55.0, 63.0, 73.0)
    weights: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 0.0)
    alert_minutes: Annotated[float, Field(gt=0)] = 15.0


class PageTable(_Table):
    """`[page]`: the node's own page on the site network, off unless there is such a table."""

    listen: str = "127.0.0.1:8080"
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class LearningTable(_Table):
    """`[learning]`: the Flower app that trains here, and how long an idle trainer keeps its memory."""

    app: str = "edge.learning.app:app_for"
    linger_s: Annotated[float, Field(ge=0)] = 20.0
    threads: Annotated[int, Field(ge=1)] = 1
    timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    attempts: Annotated[int, Field(ge=1)] = 2
    node_config: dict[str, str | int | float | bool] = {}


class PrivacyTable(_Table):
    """`[privacy]`: what this node spends on one record's lifetime, at most. It is the node that decides."""

    epsilon: Annotated[float, Field(gt=0)] = 8.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    record_lifetime_days: Annotated[float, Field(gt=0)] = 14.0
    allow_unaccounted_apps: bool = False


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
        if config.privacy.record_lifetime_days < config.store.retention_days:
            raise BadConfig(
                f"{path}: store.retention_days is {config.store.retention_days:g}, longer than "
                f"privacy.record_lifetime_days {config.privacy.record_lifetime_days:g}: the budget would not cover "
                "records that old"
            )
        return config._resolved(path.resolve().parent)

    def store_key(self) -> bytes:
        """The store's key.

        Raises:
            BadConfig: the key file is missing or holds something else.
        """
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
            update={"path": folder / self.store.path, "key_file": folder / self.store.key_file}
        )
        sensing = self.sensing
        if sensing.scanner is not None:
            found = {"contacts": folder / sensing.scanner.contacts}
            if sensing.scanner.metadata is not None:
                found["metadata"] = folder / sensing.scanner.metadata
            sensing = sensing.model_copy(update={"scanner": sensing.scanner.model_copy(update=found)})
        return self.model_copy(update={"credentials": folder / self.credentials, "store": store, "sensing": sensing})
