"""Settings of what devices and others connect to: MQTT, UDP, HTTP and OTA, and the shares of each in them."""

import re
from pathlib import Path
from typing import Final, Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from mimi_mqtt.config.bind import Bind, BindAddress
from mimi_mqtt.config.networks import HostPatterns, Networks
from mimi_mqtt.config.section import Section

_ORIGIN: Final = re.compile(
    r"(https?)://([a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?/?",
    re.IGNORECASE,
)


_TLS_PART: Final = 128
"""Records of TLS add at most 85 bytes to each 16 KiB (RFC 5246, section 6.2.3): less than this part."""
_ADDED_BYTES: Final = 4_096
"""Bytes that CONNACK and a packet's way through the broker add at most: one identifier of 5 bytes for each of
500 subscriptions (MQTT 5 section 3.3.2.3.8)."""


class MqttSettings(Section):
    """The embedded MQTT broker."""

    bind: Bind = BindAddress("0.0.0.0", 1883)
    """Plain TCP. If this default is taken the next free port is used and devices learn it from OTA."""

    tls_bind: Bind = BindAddress("0.0.0.0", 8883)
    """TLS; listens only when a certificate is configured. Stock devices use TLS on port 8883 alone."""

    tls_certificate: Path | None = None
    """Certificate chain in PEM, read again when the file changes. scripts/make-certs writes certs/server.crt
    for development."""

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
    """Bytes waiting for a client that reads slowly before it is cut off; for a client that is no device at
    least one packet of max_packet_bytes."""

    @property
    def client_buffer_bytes(self) -> int:
        """Bytes waiting for a client that is no device before it is cut off. The longest packet always may:
        a persistent session that is sent one would be cut off by it at each connection, for ever."""
        return max(
            self.max_write_buffer_bytes,
            self.max_packet_bytes + self.max_packet_bytes // _TLS_PART + _ADDED_BYTES,
        )

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

    tls_certificate: Path | None = None
    """Certificate chain in PEM: with it https:// and wss:// are served on the same port. A device that asks
    OTA by https:// trusts it, and is told wss://; one that asks by http:// is told ws://. Read again when the
    file changes."""

    tls_key: Path | None = None
    """Private key of tls_certificate in PEM."""

    plain: bool = True
    """Serves http:// and ws:// beside TLS, which devices whose OTA address begins with http:// need. false:
    only on this machine, and for http.trusted_proxies."""

    max_body_bytes: int = Field(65_536, ge=4096)
    """Largest request body, in bytes."""

    max_connections: int = Field(2_000, ge=1)
    """HTTP connections at once; at most half of them are WebSockets."""

    requests_per_minute: int = Field(600, ge=1)
    """OTA requests per minute from one address."""

    allowed_hosts: HostPatterns = ()
    """Further host names of this server, such as [voice.example.org, "*.example.net"]; web pages of these
    hosts may use it, too. Always allowed are IP addresses, server.public_host, this machine's name, those in
    http.tls_certificate, names without a dot and names that public DNS can't have: .local, .lan, .home.arpa,
    .internal, .localhost. Requests to any other name are refused: web pages of strangers could read
    credentials through them."""

    public_url: str | None = None
    """Address of the web app where a reverse proxy gives it another one, such as https://voice.example.org,
    without a path. Pages of this address may use the server, links that the server makes and the sign-in by
    OpenID Connect lead there, and passkeys belong to its name. Empty: the address by which a browser reaches
    the server."""

    trusted_proxies: Networks = ()
    """Networks of reverse proxies, such as [127.0.0.1, 172.16.0.0/12]. Their X-Forwarded-For,
    X-Forwarded-Proto and X-Forwarded-Host are believed, those of anyone else are not: the client is the last
    address in X-Forwarded-For that is not a proxy's. A proxy must set these headers itself."""

    metrics: Literal["local", "token", "open"] = "local"
    """Readers of /metrics and of the details of /healthz: local, this machine; token, also who sends
    metrics_token; open, everyone. Whether the server works, /healthz tells everyone."""

    metrics_token: SecretStr | None = None
    """Secret that is sent as "Authorization: Bearer TOKEN" to read /metrics when http.metrics is token."""

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "HttpSettings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be set together")
        if not self.plain and self.tls_certificate is None:
            raise ValueError("plain is false: tls_certificate and tls_key must be set")
        return self

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, url: str | None) -> str | None:
        if not url:
            return None
        match = _ORIGIN.fullmatch(url)
        if match is None:
            raise ValueError("must be an address such as https://voice.example.org, without a path")
        scheme, host, port = match[1].lower(), match[2].lower(), match[3]
        if port is not None and not 0 < int(port) < 65_536:
            raise ValueError("has a port that there is not")
        default = {"http": "80", "https": "443"}[scheme]
        return f"{scheme}://{host}" + ("" if port in (None, default) else f":{port}")

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
    """Channel for devices without a setting of their own: mqtt, with audio over UDP, or websocket, for both
    on the HTTP port. Espressif's own client gets websocket where mqtt.tls_bind is not on port 8883, the only
    one that it knows."""

    fallback: bool = True
    """A device whose audio does not arrive over UDP gets websocket at its next boot, until
    `mimi-mqtt devices set ID --transport default`. A device with a transport of its own keeps it."""

    new_devices: Literal["allow", "activate", "locked"] = "allow"
    """allow: a device that asks for the first time gets credentials. activate: it shows a code, and gets them
    after a person claimed it by that code, or `mimi-mqtt devices allow`. locked: only devices that were
    listed (`mimi-mqtt devices allow-list add`), or whose chip's key is registered, get in; others are
    recorded as seen."""

    activate_by_hmac: bool = True
    """With ota.new_devices activate or locked: a device that proves to have its chip's key, which
    `mimi-mqtt devices import-keys` registered, needs no code. false: it needs the code, too."""

    max_devices: int = Field(10_000, ge=1)
    """Devices that may be registered through OTA. When there are so many, one that registered by itself and
    never connected within a day is forgotten for the next one."""

    new_devices_per_hour: int = Field(60, ge=1)
    """New devices that one address may register, or have wait for activation, per hour. Behind a proxy all
    devices come from its address."""
