"""Licences of the server and of the Python packages that it runs with."""

import asyncio
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from mimi_mqtt.errors import NotFound
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/server/licences", tags=["server"])

MAX_TEXT_CHARS: Final = 400_000
"""Longest text of a package's licences; the rest is cut."""
MAX_NAME_CHARS: Final = 100

_OWN: Final = "mimi-mqtt"
_FILE: Final = re.compile(r"(^|/)(licen[cs]es?|copying|notice|authors)([-._][^/]*)?(/[^/]+)?$", re.IGNORECASE)
_CLASSIFIER: Final = "License :: "
_LONGEST: Final = 100


class Package(BaseModel):
    """One package."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    version: str | None
    """For callers with the scope `health` alone."""
    licence: str
    """Its licence in a word, such as `MIT`; empty when the package does not tell."""
    summary: str
    homepage: str | None
    has_text: bool


class PackageList(BaseModel):
    """The server first, then its packages by their names."""

    packages: list[Package]


class LicenceText(BaseModel):
    """The text of a package's licences."""

    name: str
    text: str = Field(description="One file behind the other")


@router.get("")
async def list_licences(caller: Annotated[Caller, callers(Scope.PROFILE)], services: Services) -> PackageList:
    """The server and the Python packages that are installed with it, with their licences."""
    del services
    found = await asyncio.to_thread(_installed)
    with_versions = caller.may(Scope.HEALTH)
    packages = [each if with_versions else each.model_copy(update={"version": None}) for each in found]
    return PackageList(packages=packages)


@router.get("/{name}")
async def read_licence(
    name: Annotated[str, Path(max_length=MAX_NAME_CHARS, description="The name of a package")],
    caller: Annotated[Caller, callers(Scope.PROFILE)],
    services: Services,
) -> LicenceText:
    """The text of a package's licences."""
    del caller, services
    if name not in {each.name for each in await asyncio.to_thread(_installed)}:
        raise NotFound("there is no such package")
    return LicenceText(name=name, text=await asyncio.to_thread(_text, name))


@lru_cache(maxsize=1)
def _installed() -> tuple[Package, ...]:
    found: dict[str, Package] = {}
    for each in metadata.distributions():
        name = each.metadata["Name"]
        if name and name.lower() not in found:
            found[name.lower()] = _package(name, each)
    return tuple(sorted(found.values(), key=lambda package: (package.name != _OWN, package.name.lower())))


def _package(name: str, found: metadata.Distribution) -> Package:
    told = found.metadata

    def field(key: str) -> str:
        return told[key] if key in told else ""  # noqa: SIM401 - its type has no `get`

    licence = field("License-Expression")
    if not licence:
        classified = [
            text.rpartition(" :: ")[2]
            for text in told.get_all("Classifier") or ()
            if text.startswith(_CLASSIFIER)
        ]
        licence = " / ".join(text for text in classified if text != "OSI Approved")
    if not licence:
        # The field has held whole texts, too.
        licence = next(iter(field("License").strip().splitlines()), "")
    urls = [text.partition(",")[2].strip() for text in told.get_all("Project-URL") or ()]
    homepage = field("Home-page") or next(iter(urls), "")
    return Package(
        name=name,
        version=found.version,
        licence=licence[:_LONGEST],
        summary=field("Summary")[: 2 * _LONGEST],
        homepage=homepage if homepage.startswith(("https://", "http://")) else None,
        has_text=any(True for _ in _files(found)),
    )


def _files(found: metadata.Distribution) -> Iterator[metadata.PackagePath]:
    return (
        path for path in found.files or () if _FILE.search(str(path)) and path.suffix not in (".py", ".pyc")
    )


def _text(name: str) -> str:
    found = metadata.distribution(name)
    parts = []
    for path in _files(found):
        try:
            parts.append(f"{path.name}\n\n{path.read_text(encoding='utf-8').strip()}")
        except (OSError, UnicodeDecodeError):
            continue
    return "\n\n\n".join(parts)[:MAX_TEXT_CHARS]
