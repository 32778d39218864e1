"""The watch over certificates: files that were changed are read again, without a restart."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from mimi_mqtt.errors import StartupError
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.tls.certificate import ServerCertificate

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
"""Seconds between two looks at the files. A change is taken over when it was there at two of them."""


class CertificateWatch:
    """Looks at the files of `certificates` from `start` to `aclose`; None stands for TLS that is off.

    What can't be used, such as half a file, is logged once and leaves the old certificate in use.
    """

    def __init__(self, *certificates: ServerCertificate | None) -> None:
        self._certificates = tuple(each for each in certificates if each is not None)
        self._loop = SupervisedLoop("certificates", self.look, every_s=LOOK_EVERY_S)

    def start(self) -> None:
        """Starts looking, on the running loop."""
        self._loop.start()

    @property
    def healthy(self) -> bool:
        """True while the files are looked at."""
        return self._loop.healthy

    @property
    def expired(self) -> bool:
        """True when one of the certificates is too old for clients."""
        return any(certificate.expired for certificate in self._certificates)

    def describe(self) -> str:
        """The state of all certificates, for health; empty without any."""
        return "; ".join(certificate.describe() for certificate in self._certificates)

    def warnings(self) -> Sequence[tuple[str, str, bool, datetime]]:
        """For each certificate that expired or will soon: its section of the settings, what is wrong, whether
        it expired, and when."""
        return [
            (each.section, each.warning, each.expired, each.facts.ends)
            for each in self._certificates
            if each.facts is not None and each.warning
        ]

    async def aclose(self) -> None:
        """Looks no more."""
        await self._loop.aclose()

    async def look(self) -> None:
        """One look at all files; reminds of certificates that are about to expire."""
        for certificate in self._certificates:
            certificate.remind()
            if not await asyncio.to_thread(certificate.changed):
                continue
            try:
                loaded = await asyncio.to_thread(certificate.read)
            except StartupError as error:
                certificate.refuse(error)
                continue
            certificate.take(loaded)
            _log.info("%s: renewed for new connections", certificate.describe())

    async def read_again(self) -> Callable[[], tuple[str, ...]]:
        """Reads all files, whether they were changed or not. Raises StartupError; then nothing has changed.

        Returns what takes them over, and tells of each certificate that is another one than before.
        """
        read = [(each, await asyncio.to_thread(each.read)) for each in self._certificates]

        def take() -> tuple[str, ...]:
            told = []
            for certificate, loaded in read:
                before = certificate.facts
                certificate.take(loaded)
                if loaded.facts != before:
                    told.append(f"{certificate.section}.tls_certificate: {certificate.describe()}")
            return tuple(told)

        return take
