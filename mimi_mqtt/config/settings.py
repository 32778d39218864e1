"""All settings: key, type, default and documentation; here and in `connections`, `people`, `voice` and
`agents`.

`broker.yaml` is generated from these declarations, so a field's docstring is what its user reads. Each limit
on something from outside is a field, or a named constant.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from mimi_mqtt.config.agents import DEFAULT_AGENT, Agents, AgentSettings
from mimi_mqtt.config.companion import CompanionSettings
from mimi_mqtt.config.connections import HttpSettings, MqttSettings, OtaSettings, SharesSettings, UdpSettings
from mimi_mqtt.config.files import FilesSettings
from mimi_mqtt.config.people import OidcSettings, PeopleSettings
from mimi_mqtt.config.section import Section
from mimi_mqtt.config.voice import ProviderSettings, VoiceSettings

# With bounds on its parameters: no line of the configuration makes a log-in take seconds or gigabytes.
_ARGON2_HASH = re.compile(
    r"\$argon2id?\$v=19\$m=[0-9]{4,6},t=[0-9]{1,2},p=[0-9]{1,2}\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,172}"
)


class ServerSettings(Section):
    """The server as a whole."""

    data_dir: Path = Path("data")
    """Folder for the database and the server's secret. Made on first start."""

    public_host: str | None = None
    """Name or IPv4 address that devices are told to connect to. Empty: the address by which the device
    reached the OTA page, which is right on a home network."""

    timezone: str | None = None
    """Time zone of people and devices, such as Europe/Berlin. Empty: this machine's."""

    language: str = "en"
    """Language spoken when a device does not say which one it wants."""

    @field_validator("public_host")
    @classmethod
    def _host_fits_the_device(cls, host: str | None) -> str | None:
        # The firmware splits `host:port` at the first colon and resolves IPv4 only.
        if host is not None and (":" in host or "/" in host or not host.strip()):
            raise ValueError("must be a host name or IPv4 address without a port or scheme")
        return host

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str | None) -> str | None:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError("must be a time zone name such as Europe/Berlin") from error
        return name


class LogSettings(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity: debug has the wire, info one line per connection and turn."""

    format: Literal["text", "json"] = "text"
    """text for people, json for log collectors."""

    max_kb_per_minute: int = Field(100, ge=0, le=1_000_000)
    """Most that is written within a minute, in thousands of bytes. Repeated lines are counted and told once a
    minute anyway; this is the bound for all else, such as an attack by many. 0: no bound."""

    @field_validator("max_kb_per_minute")
    @classmethod
    def _holds_a_traceback(cls, bound: int) -> int:
        if 0 < bound < 20:
            raise ValueError("must be 0 or at least 20, the room for a traceback")
        return bound


class AccountSettings(Section):
    """MQTT users that are not devices."""

    admin_username: str = "admin"
    """User who may read and write the whole mimi/# tree."""

    admin_password: SecretStr | None = None
    """At least 8 characters, or the hash of a password, which `mimi-mqtt hash-password` makes. Empty: the
    administrator can't log in. Prefer the variable MIMI_ACCOUNTS__ADMIN_PASSWORD."""

    anonymous: bool = False
    """Lets clients without a user name connect. They never see or touch mimi/#."""

    @field_validator("admin_password")
    @classmethod
    def _password_is_long_or_hashed(cls, password: SecretStr | None) -> SecretStr | None:
        if password is None:
            return None
        text = password.get_secret_value()
        if text.startswith("$argon2"):
            if not _ARGON2_HASH.fullmatch(text):
                raise ValueError(
                    "begins like an Argon2 hash and is none: copy the whole line of "
                    "`mimi-mqtt hash-password`; a shell wants it in single quotes"
                )
        elif len(text) < 8:
            raise ValueError("must have at least 8 characters: it can be guessed over the network")
        return password

    @field_validator("admin_username")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if not name or name.startswith("$"):
            raise ValueError("must not be empty, nor begin with $: such names are the server's own")
        return name


class StoreSettings(Section):
    """The database."""

    url: SecretStr | None = None
    """SQLAlchemy URL, such as postgresql+asyncpg://user:password@host/name. Empty: SQLite in data_dir."""

    keep_conversations_days: int = Field(90, ge=1)
    """Conversations older than this are deleted, in days."""

    keep_statistics_days: int = Field(730, ge=1, le=3_650)
    """Statistics of turns, which hold no speech, are kept this long, in days."""

    max_size_mb: int = Field(1_024, ge=0)
    """Size of the database from which the oldest conversations are deleted, in MB (1,000,000 bytes). 0: no
    bound. A file of SQLite does not shrink: its free pages are used again."""

    keep_copies: int = Field(2, ge=0, le=100)
    """Copies of the database that are kept, of those that are made before its tables are migrated: of SQLite
    a file beside it, of PostgreSQL a schema in the same database. 0: none are made."""

    @field_validator("max_size_mb")
    @classmethod
    def _holds_a_fleet(cls, size: int) -> int:
        if 0 < size < 10:
            raise ValueError("must be 0 or at least 10")
        return size


class BackupSettings(Section):
    """Backups that the server makes by itself; `mimi-mqtt backup` makes one at any time."""

    folder: Path | None = None
    """Folder for the backups, best on another disk. Empty: none are made."""

    every_hours: float = Field(24.0, ge=1, le=8_760)
    """Hours from one backup to the next. The first one is made at the start when the last is older."""

    at: str = ""
    """Time of day of backups, such as 03:30, in server.timezone; every_hours then counts in whole days. One
    that was missed is made at the next start. Empty: every_hours after the last one."""

    keep: int = Field(7, ge=1, le=1_000)
    """Backups that are kept in the folder; older ones of this server are deleted."""

    passphrase_file: Path | None = None
    """File whose first line is the passphrase, which a restore asks for: keep a copy of it elsewhere."""

    @field_validator("at", mode="before")
    @classmethod
    def _is_a_time_of_day(cls, at: object) -> object:
        if isinstance(at, int) and not isinstance(at, bool):
            # YAML 1.1 reads 13:30 without quotes as a number in base 60.
            at = f"{at // 60:02}:{at % 60:02}"
        if isinstance(at, str) and at and not re.fullmatch(r"([01]?[0-9]|2[0-3]):[0-5][0-9]", at):
            raise ValueError("must be a time of day such as 03:30")
        return at

    @model_validator(mode="after")
    def _has_its_passphrase(self) -> "BackupSettings":
        if self.folder is not None and self.passphrase_file is None:
            raise ValueError("folder is set: passphrase_file must be set, too")
        return self


class SessionSettings(Section):
    """One live conversation with a device."""

    idle_timeout_s: float = Field(110.0, ge=5, le=118)
    """Silence before the server says goodbye, in seconds. Devices give a channel up after 120."""

    max_sessions: int = Field(2_000, ge=1)
    """Live sessions at once; a hello beyond is answered with an alert."""

    guard_gap_ms: int = Field(100, ge=60, le=500)
    """Between `tts start` and the first audio, in ms: UDP may overtake MQTT, and a device discards audio
    until it is in the speaking state. As long as the device's TCP has not acknowledged `tts start`, audio
    waits, up to 3 s."""

    playout_ahead_frames: int = Field(3, ge=1, le=30)
    """Frames sent ahead of real time, as far as the device's queue and 1.2 s of audio allow; low-memory
    devices hold 5. What was sent ahead is still heard after an interruption."""

    reattach_s: float = Field(20.0, ge=0, le=60)
    """Longest time that a session goes on without its control connection, in seconds: devices reconnect after
    10 and go on with it. 0 ends the session with its connection."""

    stop_margin_ms: int = Field(120, ge=0, le=1000)
    """Between the end of the last frame's play-out and `tts stop`, in ms."""

    watchdog_s: float = Field(60.0, ge=5)
    """Longest time without progress before a turn is ended, in seconds."""


class DisplaySettings(Section):
    """Texts on the screens of devices."""

    fonts: tuple[str, ...] = ()
    """Font files with the characters that a device's own font lacks, for devices that can be sent glyphs:
    paths, tried in order before the fonts of this machine (Debian's packages fonts-noto-core, fonts-noto-cjk,
    fonts-symbola and others). A face of a collection is named as in /path/fonts.ttc#2. `mimi-mqtt doctor`
    tells which font has which script."""


class Settings(Section):
    """All of broker.yaml."""

    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    mqtt: MqttSettings = MqttSettings()
    udp: UdpSettings = UdpSettings()
    http: HttpSettings = HttpSettings()
    shares: SharesSettings = SharesSettings()
    ota: OtaSettings = OtaSettings()
    accounts: AccountSettings = AccountSettings()
    people: PeopleSettings = PeopleSettings()
    oidc: OidcSettings = OidcSettings()
    store: StoreSettings = StoreSettings()
    companion: CompanionSettings = CompanionSettings()
    files: FilesSettings = FilesSettings()
    backup: BackupSettings = BackupSettings()
    session: SessionSettings = SessionSettings()
    display: DisplaySettings = DisplaySettings()
    voice: VoiceSettings = VoiceSettings()
    assistant: AgentSettings = AgentSettings()
    agents: Agents = Field(
        default_factory=dict,
        examples=[{"teacher": {"name": "Linh", "language": "vi", "tts": "edge", "tools": ["set_timer"]}}],
    )
    """Further agents by name: what a key is left out is the section assistant's, the default agent's. A
    device gets one with `mimi-mqtt devices set ID --agent NAME`."""
    providers: ProviderSettings = ProviderSettings()

    @property
    def every_agent(self) -> Mapping[str, AgentSettings]:
        """All agents, complete, the default one first: a key that one was not given is the default's."""
        others = {name: self.assistant.changed_by(agent) for name, agent in self.agents.items()}
        return {DEFAULT_AGENT: self.assistant, **others}

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL in force."""
        if self.store.url is not None:
            return self.store.url.get_secret_value()
        return f"sqlite+aiosqlite:///{(self.server.data_dir / 'mimi.db').absolute()}"
