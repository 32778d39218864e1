"""A listener's certificate and key: read from files, explained when they can't be used, and read again when
they change.
"""

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from prometheus_client import Gauge

from mimi_mqtt.errors import StartupError
from mimi_mqtt.tls.trust import is_trusted

_log = logging.getLogger(__name__)

WARNED_BEFORE: Final = timedelta(days=14)
"""Time before a certificate ends from which health and the log say so; a quarter of its life where that is
less: some authorities give certificates for six days."""

_MOST_HOSTS: Final = 16
"""Hosts for which it is remembered whether the public trusts the certificate."""

_ends = Gauge(
    "mimi_tls_certificate_end_timestamp_seconds", "End of the certificate in use, as Unix time.", ["listener"]
)

FilesState = tuple[tuple[int, int, int, int] | None, ...]
"""Device, inode, size and time of the last change of each file; None for one that can't be seen."""


def first_certificate(pem: bytes) -> x509.Certificate:
    """The first certificate of a chain, which is the server's own. Raises ValueError when there is none."""
    return certificates(pem)[0]


def certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a chain, the server's own first. Raises ValueError when there is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Facts:
    """Validity and names of a certificate, `*.` of wildcards included."""

    begins: datetime
    ends: datetime
    names: tuple[str, ...]

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "Facts":
        """Raises ValueError for one that breaks the rules of X.509."""
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            told: tuple[str, ...] = ()
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise ValueError(str(error)) from error
        else:
            addresses = map(str, names.get_values_for_type(x509.IPAddress))
            told = (*names.get_values_for_type(x509.DNSName), *addresses)
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc, told)

    def warning(self, now: datetime) -> str:
        """Warning about the validity at `now`, or about its end soon; empty when there is none."""
        if now < self.begins:
            return f"is valid from {self.begins:%Y-%m-%d} only"
        if now >= self.ends:
            return f"expired on {self.ends:%Y-%m-%d}"
        left = self.ends - now
        if left < min(WARNED_BEFORE, (self.ends - self.begins) / 4):
            return (
                f"expires in {left.days} days"
                if left.days > 1
                else f"expires on {self.ends:%Y-%m-%d %H:%M} UTC"
            )
        return ""

    def name_for(self, host: str) -> str:
        """`host` when the certificate is for it, else the first of its names that others can reach."""
        if self.fits(host):
            return host
        return next((name for name in self.names if "*" not in name and not _is_loopback(name)), host)

    def fits(self, host: str) -> bool:
        """True when the certificate is for this name or address (RFC 6125, 6.4)."""
        wanted = host.lower().rstrip(".")
        parent = wanted.partition(".")[2]
        return any(name.lower() in (wanted, f"*.{parent}") for name in self.names)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Certificate and key as they lay in their files; `facts` None, and `chain` empty: only OpenSSL can read
    the certificate."""

    context: ssl.SSLContext
    facts: Facts | None
    state: FilesState
    chain: tuple[x509.Certificate, ...] = ()


class ServerCertificate:
    """The certificate of one listener, whose settings are `section`.tls_certificate and `section`.tls_key.

    Connections are made with `context`; those that are open keep the one they were made with. `alpn` are the
    protocols that clients may choose from. Raises StartupError when the files can't be used.
    """

    def __init__(
        self,
        section: str,
        certificate: Path,
        key: Path,
        *,
        alpn: Sequence[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.section = section
        self._files = {f"{section}.tls_certificate": certificate, f"{section}.tls_key": key}
        self._alpn = tuple(alpn)
        self._clock = clock
        self.problem = ""
        """Why the files as they are now are not in use; empty when they are."""
        self.take(self.read())

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context of new connections."""
        return self._loaded.context

    @property
    def facts(self) -> Facts | None:
        """Validity and names of the certificate in use."""
        return self._loaded.facts

    @property
    def expired(self) -> bool:
        """True when clients refuse the certificate for its age."""
        return self.facts is not None and self._clock() >= self.facts.ends

    @property
    def warning(self) -> str:
        """The fault in the certificate's age, or in files that are not in use; empty: none."""
        told = self.facts.warning(self._clock()) if self.facts is not None else ""
        return "; ".join(filter(None, (told, self.problem)))

    def is_for(self, host: str) -> bool:
        """True when `host` is among the names of the certificate."""
        return self.facts is not None and self.facts.fits(host)

    def is_public_for(self, host: str) -> bool:
        """True when clients that know the public authorities alone accept the certificate for `host`."""
        now, facts = self._clock(), self.facts
        if facts is None or not facts.begins <= now < facts.ends:  # which changes with the time
            return False
        if host not in self._trusted:
            if len(self._trusted) >= _MOST_HOSTS:
                self._trusted.clear()
            try:
                self._trusted[host] = is_trusted(self._loaded.chain, host, now)
            except (OSError, ValueError):
                _log.exception("the public authorities can't be read: no certificate is taken for public")
                self._trusted[host] = False
        return self._trusted[host]

    def name_for(self, host: str) -> str:
        """The host to be named in an address: `host` unless the certificate is for other names alone."""
        return host if self.facts is None else self.facts.name_for(host)

    def describe(self) -> str:
        """The certificate's state, for health."""
        if self.facts is None:
            told = "valid"
        else:
            told = self.facts.warning(self._clock()) or f"valid until {self.facts.ends:%Y-%m-%d}"
        return f"certificate of {self.section} {told}" + (f"; {self.problem}" if self.problem else "")

    def read(self) -> Loaded:
        """Reads the files, and changes nothing. Raises StartupError, which says what is wrong with them."""
        state = self._state()
        contents = {}
        for setting, path in self._files.items():
            try:
                contents[setting] = path.read_bytes()
            except OSError as error:
                raise StartupError(
                    f"{setting} {path} can't be read ({error.strerror}): set it to a file that this user may "
                    "read; scripts/make-certs writes a certificate for development"
                ) from error
        certificate, key = self._files.values()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self._alpn:
            context.set_alpn_protocols(self._alpn)
        named = " and ".join(f"{setting} {path}" for setting, path in self._files.items())
        try:
            # A password, so that OpenSSL does not ask for one on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError) as error:
            raise StartupError(f"{named} can't be used: {_reason(error)}") from error
        try:
            chain = certificates(contents[f"{self.section}.tls_certificate"])
            return Loaded(context, Facts.of(chain[0]), state, chain)
        except ValueError:
            return Loaded(context, None, state)

    def take(self, loaded: Loaded) -> None:
        """Uses what was read for connections that come from now on."""
        self._loaded = loaded
        self._trusted: dict[str, bool] = {}
        self._tried = self._seen = loaded.state
        self.problem = self._warned = ""
        if loaded.facts is not None:
            _ends.labels(self.section).set(loaded.facts.ends.timestamp())
        self.remind()

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────────

    def changed(self) -> bool:
        """True when the files were changed, and then left alone from one call to the next: whoever writes two
        files is between them for a moment."""
        state = self._state()
        settled, self._seen = state == self._seen, state
        if not settled or state == self._tried:
            return False
        self._tried = state
        return True

    def refuse(self, error: StartupError) -> None:
        """Keeps the certificate in use, and tells why the files that were read are not."""
        self.problem = "the files on disk can't be used, see the log"
        _log.error("the certificate of %s was not renewed, the old one stays: %s", self.section, error)

    def remind(self) -> None:
        """Logs once when the certificate is about to expire, and once when it has."""
        warning = self.facts.warning(self._clock()) if self.facts is not None else ""
        stage = warning.split(" ")[0]
        if stage != self._warned:
            self._warned = stage
            if warning:
                _log.warning("the certificate of %s %s: renew it", self.section, warning)

    def _state(self) -> FilesState:
        return tuple(map(_file_state, self._files.values()))


def _is_loopback(name: str) -> bool:
    return name == "localhost" or name == "::1" or name.startswith("127.")


def _file_state(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _reason(error: OSError) -> str:
    """The cure for an error of OpenSSL's, whose own words are added."""
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate; set both to one pair"
    return (
        f"they must be a certificate chain and its own private key, in PEM and without a passphrase ({error})"
    )
