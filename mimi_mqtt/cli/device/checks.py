"""Checks of what a simulated device is asked to do, before anything is sent."""

import re

from mimi_mqtt.cli.device.identity import canonical_mac
from mimi_mqtt.cli.device.options import DeviceOptions
from mimi_mqtt.cli.device.profiles import PROFILES
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.errors import ConfigError, ProtocolError
from mimi_mqtt.fleet.firmware.versions import is_plain


def check(options: DeviceOptions) -> None:
    """Raises ConfigError, with the option's name, for what can't be done."""
    sources = (
        options.say or None, options.wav, options.text, options.pcm, options.mic or None,
        options.interactive or None,
    )  # fmt: skip
    given = sum(source is not None for source in sources)
    if given != 1 and not (given == 0 and (options.idle_s or options.update)):
        raise ConfigError(
            "say exactly one of --say, --wav, --text, --mic and --interactive, or --idle or --update"
        )
    if options.lost and not options.update:
        raise ConfigError("--lost: only with --update")
    if options.firmware is not None and not is_plain(options.firmware):
        raise ConfigError(f"--firmware: {options.firmware!r} is no version such as 2.2.1")
    if options.text is not None and not options.text.strip():
        raise ConfigError("--text: a wake word has a text")
    if options.mic and options.mode == "manual":
        raise ConfigError("--mic --mode manual: use --interactive and /mic, where Enter lets the button go")
    if options.like not in PROFILES:
        raise ConfigError(f"--like: there is no profile {options.like!r}; choose from {', '.join(PROFILES)}")
    if not re.match(r"https?://[^/]", options.ota):
        raise ConfigError(
            f"--ota: {options.ota!r} is no address such as http://192.168.1.10:8003/xiaozhi/ota/"
        )
    if options.tls_ca is not None and options.tls_insecure:
        raise ConfigError("--tls-ca and --tls-insecure: give one of them")
    if options.tls_ca is not None:
        Trust(options.tls_ca).context()
    if options.save is not None and not options.save.parent.is_dir():
        raise ConfigError(f"--save: there is no folder {options.save.parent}")
    if options.transport == "websocket" and (options.loss_percent or options.jitter_ms):
        raise ConfigError("--loss and --jitter: not over a WebSocket, whose TCP loses and reorders nothing")
    turns = max(1, len(options.say))
    if len(options.expect) > turns and not options.interactive:
        raise ConfigError(f"--expect is given {len(options.expect)} times, for {_turns(turns)}")
    if options.mac is not None:
        try:
            canonical_mac(options.mac)
        except ProtocolError as error:
            raise ConfigError(f"--mac: {error}") from error


def _turns(count: int) -> str:
    return "one turn" if count == 1 else f"{count} turns"
