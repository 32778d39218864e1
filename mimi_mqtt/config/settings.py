"""Every setting: its key, type, default and documentation, declared in one place.

`broker.yaml` is generated from these declarations, so a field's `description` is what its user reads.
Each limit on something from outside is a field here.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)

from mimi_mqtt.config.agents import DEFAULT_AGENT, Agents, AgentSettings, one_service
from mimi_mqtt.config.bind import Bind, BindAddress
from mimi_mqtt.config.networks import HostPatterns, Networks
from mimi_mqtt.config.section import Section

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


class MqttSettings(Section):
    """The embedded MQTT broker."""

    bind: Bind = BindAddress("0.0.0.0", 1883)
    """Plain TCP. If this default is taken the next free port is used and devices learn it from OTA."""

    tls_bind: Bind = BindAddress("0.0.0.0", 8883)
    """TLS; listens only when a certificate is configured. Stock devices use TLS on port 8883 alone."""

    tls_certificate: Path | None = None
    """Certificate chain in PEM. scripts/make-certs writes certs/server.crt for development."""

    tls_key: Path | None = None
    """Private key of tls_certificate in PEM."""

    keepalive_s: int = Field(240, ge=10, le=3600)
    """Keepalive that OTA tells devices to use, in seconds."""

    max_connections: int = Field(10_000, ge=1)
    """Connections of all kinds at once; more are refused."""

    max_pending_connects: int = Field(1_000, ge=1)
    """Connections that have not sent a complete CONNECT yet."""

    connect_timeout_s: float = Field(5.0, gt=0, le=60)
    """Time for a CONNECT to arrive, in seconds."""

    max_connect_bytes: int = Field(4096, ge=256)
    """Largest CONNECT packet, in bytes."""

    max_device_packet_bytes: int = Field(16_384, ge=1024)
    """Largest packet from a device, in bytes (tools/list replies are at most 8,000)."""

    max_packet_bytes: int = Field(262_144, ge=1024)
    """Largest packet from any other client, in bytes."""

    device_messages_per_s: float = Field(50.0, gt=0)
    """Sustained message rate of one device; a burst of four times as many is allowed."""

    max_write_buffer_bytes: int = Field(262_144, ge=16_384)
    """Bytes waiting for a client that reads slowly before it is cut off."""

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "MqttSettings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be set together")
        return self


class UdpSettings(Section):
    """The encrypted audio channel."""

    bind: Bind = BindAddress("0.0.0.0", 8884)
    """If this default is taken the next free port is used; devices learn it from hello."""

    public_port: int | None = Field(None, ge=1, le=65535)
    """Port devices are told to send to, when a router or container maps another one to udp.bind."""

    max_sequence_jump: int = Field(250, ge=1)
    """Largest believable jump of the sequence after the last good packet, in packets."""

    max_datagrams_per_s: float = Field(200.0, gt=0)
    """Sustained datagram rate of one session; a burst of half a second's worth is allowed."""

    path_proof_packets: int = Field(5, ge=2, le=50)
    """Good packets in a row from a new source address before the downlink follows it; while forgeries come,
    twice as many from another host. About one random datagram in a hundred passes for audio. At the address
    of the device's control connection the first good packet is enough as long as no address is proven."""

    receive_buffer_bytes: int = Field(4_194_304, ge=65_536)
    """Socket receive buffer asked of the kernel, in bytes; net.core.rmem_max caps it."""


class HttpSettings(Section):
    """OTA, health and metrics, MQTT over WebSocket."""

    bind: Bind = BindAddress("0.0.0.0", 8003)
    """Address of the HTTP server; devices and browsers use it."""

    max_body_bytes: int = Field(65_536, ge=4096)
    """Largest request body, in bytes."""

    max_connections: int = Field(2_000, ge=1)
    """HTTP connections at once; at most half of them are WebSockets."""

    requests_per_minute: int = Field(600, ge=1)
    """OTA requests per minute from one address."""

    allowed_hosts: HostPatterns = ()
    """Further host names of this server, such as [voice.example.org, "*.example.net"]; web pages of these
    hosts may use it, too. Always allowed are IP addresses, server.public_host, this machine's name, names
    without a dot and names that public DNS can't have: .local, .lan, .home.arpa, .internal, .localhost.
    Requests to any other name are refused: web pages of strangers could read credentials through them."""

    trusted_proxies: Networks = ()
    """Networks of reverse proxies, such as [127.0.0.1, 172.16.0.0/12]. Their X-Forwarded-For,
    X-Forwarded-Proto and X-Forwarded-Host are believed, those of anyone else are not: the client is the last
    address in X-Forwarded-For that is not a proxy's. A proxy must set these headers itself."""

    metrics: Literal["local", "token", "open"] = "local"
    """Who may read /metrics, and the details of /healthz: local, this machine; token, also who sends
    metrics_token; open, everyone. Whether the server works, /healthz tells everyone."""

    metrics_token: SecretStr | None = None
    """Secret that is sent as "Authorization: Bearer TOKEN" to read /metrics when http.metrics is token."""

    @model_validator(mode="after")
    def _token_is_there(self) -> "HttpSettings":
        if self.metrics == "token" and not (self.metrics_token and self.metrics_token.get_secret_value()):
            raise ValueError("metrics is token: metrics_token must be set")
        return self


class SharesSettings(Section):
    """Shares of one address, account or device in what all use, so that none can stop the others.

    Behind a proxy of http.trusted_proxies the address is that of its client, and an IPv6 address counts with
    its whole /64.
    """

    device_reserve_percent: int = Field(50, ge=0, le=90)
    """Part of all connections that is kept for devices and for addresses from which devices connected."""

    pending_connects_per_address: int = Field(500, ge=1)
    """MQTT connections of one address that have not sent a complete CONNECT; beyond, its oldest is closed."""

    connections_per_account: int = Field(50, ge=1)
    """MQTT connections of one account that is not a device: of the administrator, of the testers of one
    device, of clients without a user name from one address."""

    connects_per_minute: int = Field(600, ge=1)
    """Accepted MQTT connections of one account in a minute, on average; a burst of as many is allowed."""

    messages_per_s: float = Field(500.0, gt=0)
    """Sustained message rate of one account that is not a device; a burst of four times as many is allowed.
    Ten deliveries, 8 KiB, or one topic filter subscribed to count as a message, too. Further messages wait:
    the server reads that account's connections more slowly."""

    subscriptions_per_account: int = Field(2_000, ge=1)
    """MQTT topic filters of all connections and kept sessions of one account; a filter counts once for every
    four levels begun."""

    retained_messages_per_account: int = Field(2_000, ge=1)
    """Retained MQTT messages that one account may have on the server; those of the server count to nobody."""

    offline_sessions_per_account: int = Field(50, ge=1)
    """Persistent MQTT sessions of one account that are kept while their clients are away; the oldest goes."""

    failed_logins: int = Field(10, ge=1)
    """Wrong passwords for a user name from one address within a quarter of an hour, after which further ones
    are refused unchecked for lockout_s. Devices with their own credentials are let in all the same."""

    lockout_s: float = Field(900.0, ge=1)
    """Length of that refusal, in seconds."""

    http_connections_per_address: int = Field(400, ge=1)
    """HTTP connections of one address; beyond, its oldest one is closed."""

    websockets_per_address: int = Field(50, ge=1)
    """WebSocket connections of one address."""

    http_requests_per_minute: int = Field(600, ge=1)
    """HTTP requests of one address to any path in a minute; a burst of as many is allowed."""

    http_cpu_percent: int = Field(15, ge=1, le=100)
    """Share of a core that the answers to one address may take in the long run, in percent."""

    waiting_devices_per_address: int = Field(100, ge=1)
    """Devices of one address that may wait to be allowed (ota.new_devices) at once."""

    turns_per_minute: int = Field(60, ge=1)
    """Turns of one device in a minute, on average; a burst of as many is allowed."""

    unheard_audio_s: float = Field(60.0, ge=5)
    """Audio of one device, in seconds, that may wait for speech to text; one utterance always may."""


class OtaSettings(Section):
    """Answers to booting devices."""

    transport: Literal["mqtt", "websocket"] = "mqtt"
    """Channel for devices without a setting of their own."""

    new_devices: Literal["allow", "activate"] = "allow"
    """allow: a device that asks for the first time gets credentials. activate: it shows a code, and gets them
    after `mimi-mqtt devices allow`."""

    max_devices: int = Field(10_000, ge=1)
    """Devices that may be registered through OTA. When there are so many, one that registered by itself and
    never connected within a day is forgotten for the next one."""

    new_devices_per_hour: int = Field(60, ge=1)
    """New devices that one address may register, or have wait for activation, per hour. Behind a proxy all
    devices come from its address."""


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

    max_size_mb: int = Field(1_024, ge=0)
    """Size of the database from which the oldest conversations are deleted, in MB (1,000,000 bytes). 0: no
    bound. A file of SQLite does not shrink: its free pages are used again."""

    @field_validator("max_size_mb")
    @classmethod
    def _holds_a_fleet(cls, size: int) -> int:
        if 0 < size < 10:
            raise ValueError("must be 0 or at least 10")
        return size


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


class VoiceSettings(Section):
    """Hearing and turn-taking."""

    speech_threshold: float = Field(0.5, gt=0, lt=1)
    """Voice probability from which a frame counts as speech."""

    min_speech_ms: int = Field(180, ge=20)
    """Speech needed before an utterance has begun, in ms."""

    preroll_ms: int = Field(300, ge=0, le=2000)
    """Audio before the detected beginning that is kept, in ms."""

    endpointing: Literal["auto", "adaptive", "fixed", "transcript", "vendor"] = "auto"
    """Rule for the end of an utterance in auto and realtime mode: auto weighs the words against the speaker's
    own pauses, and is adaptive where no words are known in time; adaptive follows the speaker's own pauses,
    fixed is always end_silence_ms, transcript waits longer after an unfinished clause and less after a
    complete one (needs speech to text with interim results, or preemptive replies), vendor believes the
    speech-to-text provider where it judges (deepgram), else it is adaptive."""

    end_silence_ms: int = Field(700, ge=200, le=5000)
    """Silence that ends an utterance in auto and realtime mode, in ms; adapts between half and one and a half
    times this to the speaker's own pauses."""

    preemptive_silence_ms: int = Field(180, ge=0, le=5000)
    """Preemptive replies: after so much silence, in ms, the answer is begun, without being spoken and without
    tools. It is dropped when the speaker goes on, which costs a request to speech to text and one to the
    language model; set 0 to spare them."""

    barge_in_ms: int = Field(120, ge=0, le=5000)
    """Speech during the reply, in ms, that interrupts it in realtime mode. 0: only the wake word or a button
    does. When it was noise the reply goes on from where it stopped."""

    max_utterance_s: float = Field(30.0, ge=2, le=300)
    """An utterance longer than this is cut and answered, in seconds."""

    no_speech_timeout_s: float = Field(15.0, ge=2)
    """A listening turn without speech for so long ends without a word, in seconds."""

    jitter_ms: int = Field(120, ge=0, le=1000)
    """Longest wait for a missing packet before it counts as lost, in ms."""

    s2s_idle_s: float = Field(60.0, ge=5)
    """Speech to speech: after so long without speech the connection to the service, which may cost money, is
    closed, in seconds. The next one begins with what was said before."""

    opus_bitrate: int = Field(24_000, ge=6_000, le=128_000)
    """Downlink Opus bit rate, in bits per second."""

    opus_complexity: int = Field(5, ge=0, le=10)
    """Downlink Opus encoder effort."""

    downlink_sample_rate: Literal[16_000, 24_000] = 24_000
    """Sample rate of the speech sent to devices, in Hz."""

    audio_threads: int = Field(2, ge=1, le=64)
    """Threads for Opus and voice activity detection, shared by all sessions."""

    max_reply_chars: int = Field(4_000, ge=100)
    """A reply longer than this is cut at a sentence."""

    filler_s: float = Field(5.0, ge=0, le=60)
    """When so long nothing has been heard of an answer, in seconds, "one moment, please" is said; again after
    three times as long, and so on. 0: never."""

    patience_s: float = Field(30.0, ge=1, le=600)
    """Longest wait for the first sound of an answer, from the end of the speech, in seconds: then an apology
    is said instead."""

    max_tool_rounds: int = Field(5, ge=0, le=50)
    """Most rounds of tool calls in one reply."""

    history_turns: int = Field(20, ge=0)
    """Turns of the conversation the language model is shown."""


Chain = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    PlainSerializer(lambda names: names[0] if len(names) == 1 else list(names)),
    Field(min_length=1),
]


class PriceSettings(Section):
    """Prices of one provider, in the currency of the whole table."""

    input_per_million: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A million tokens that a language model reads."""

    output_per_million: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A million tokens that a language model writes."""

    audio_input_per_million: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of audio that speech to speech hears. Empty: as other tokens."""

    audio_output_per_million: float | None = Field(None, ge=0, allow_inf_nan=False)
    """A million tokens of audio that speech to speech says. Empty: as other tokens."""

    per_minute: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A minute of audio that is transcribed."""

    per_million_characters: float = Field(0.0, ge=0, allow_inf_nan=False)
    """A million characters that are spoken."""


class ProviderSettings(Section):
    """Providers of speech and language. `auto` chooses by the API keys in the environment, else offline."""

    vad: str = "silero"
    """Voice activity detection."""

    stt: Chain = ("auto",)
    """Speech to text: a name, or a list tried in order."""

    llm: Chain = ("auto",)
    """Language model: a name, or a list tried in order."""

    tts: Chain = ("auto",)
    """Text to speech: a name, or a list tried in order."""

    s2s: Annotated[str | None, BeforeValidator(one_service)] = None
    """Speech to speech: one service that hears, thinks and speaks in place of the three above, which answer
    when it fails. Never chosen by auto. Empty: none."""

    timeout_s: float = Field(15.0, gt=0)
    """Longest wait for a provider's first result, and between two parts of it, in seconds."""

    retries: int = Field(1, ge=0, le=5)
    """Further tries at a provider before the next one in the list is asked; none after a time-out."""

    hedge_ms: int = Field(0, ge=0, le=60_000)
    """Hedging: when the first provider of a list has not begun to answer after so much time, in ms, the
    second is asked too, the first to begin is heard, and the other is stopped. Costs a second request when it
    happens. Counts from the end of the audio for speech to text. Providers that act themselves, such as
    home_assistant, are never hedged. 0: off."""

    prices: dict[str, PriceSettings] = Field(default_factory=dict)
    """Prices by provider, as name or name:label, for mimi_provider_cost_total in /metrics, in any one
    currency: {openai: {input_per_million: 0.4, output_per_million: 1.6}}. Also per_minute of audio for speech
    to text, per_million_characters for text to speech, and audio_input_per_million and
    audio_output_per_million for speech to speech."""

    cache_mb: int = Field(64, ge=0, le=100_000)
    """Disk space for short phrases that are said often, in MB, under data_dir/cache: they cost no request and
    no wait. 0: none are kept."""

    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of each provider under its name, such as
    {openai: {base_url: "http://localhost:1234/v1"}}."""


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
    store: StoreSettings = StoreSettings()
    session: SessionSettings = SessionSettings()
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
