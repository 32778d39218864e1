"""Findings of the doctor about fonts for the screens of devices."""

from collections.abc import Sequence

from mimi_mqtt.cli.finding import Finding
from mimi_mqtt.errors import ConfigError


def fonts(configured: Sequence[str]) -> list[Finding]:
    """The fonts that glyphs for the screens of devices come from, by script."""
    from mimi_mqtt.session.glyphs.fonts import SCRIPTS
    from mimi_mqtt.session.glyphs.source import GlyphSource
    from mimi_mqtt.session.glyphs.typeface import ADVICE, freetype

    what = "glyphs for screens"
    try:
        freetype()
    except ConfigError as error:
        return [Finding("warn", what, str(error).removesuffix(f"; {ADVICE}"), ADVICE)]
    try:
        source = GlyphSource(configured)
    except ConfigError as error:
        return [Finding("fail", what, str(error), "mend display.fonts in broker.yaml")]
    try:
        of = {script: source.of(script.sample) for script in SCRIPTS}
    finally:
        source.close()
    scripts_of: dict[str, list[str]] = {}
    for script, font in of.items():
        if font is not None:
            scripts_of.setdefault(font, []).append(script.name)
    found = "; ".join(f"{', '.join(scripts)} from {font}" for font, scripts in scripts_of.items())
    findings = [Finding("ok", what, found)] if found else []
    missing = [script for script in SCRIPTS if of[script] is None]
    if missing:
        names = ", ".join(script.name for script in missing)
        packages = " ".join(dict.fromkeys(script.package for script in missing))
        findings.append(Finding("warn", what, f"no font for {names}", f"apt-get install {packages}"))
    return findings
