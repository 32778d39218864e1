"""Local models: what there is, what is installed, and installing and removing it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StrictBool

from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.managed.model_installs import Installation
from mimi_mqtt.models.catalog import Model as CatalogModel
from mimi_mqtt.models.catalog import catalog, languages_with_sets, small_set
from mimi_mqtt.models.engines import engine_installed
from mimi_mqtt.models.folder import ModelsFolder
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.providers.catalog.local_models import models_folder

router = APIRouter(prefix="/models", tags=["voices"])

Name = Annotated[str, Path(max_length=64, description="Name of a model")]
Writer = Annotated[Caller, callers(Scope.PROVIDERS_WRITE)]


class InstallationOut(BaseModel):
    """How far the installation of a model is."""

    state: Literal["waiting", "running", "installed", "failed", "cancelled"]
    done_bytes: int
    total_bytes: int
    step: str = Field(description="What it does at present, for people")
    error: str = Field(description="The reason of a failure, and its cure")


class Model(BaseModel):
    """A local model."""

    name: str
    role: str
    provider: str
    languages: list[str]
    summary: str
    bytes: int = Field(description="Size of its download; 0: it comes with its package")
    licence: str
    limits: str = Field(description="What its licence does not allow; empty for nothing")
    installed: bool
    needs: str = Field(description="The extra that runs it and is not installed: mimi-mqtt[extra]")
    voices: list[str]
    removable: bool = Field(description="false: it comes with a package, or is not installed")
    advised_for: list[str] = Field(description="Languages whose best small set it is in")
    installation: InstallationOut | None = Field(
        description="null: nobody asked for it since the server's start"
    )


class Models(BaseModel):
    """Local models."""

    items: list[Model]


class InstallIn(BaseModel):
    """The terms that a person agrees to who installs a model."""

    accept_licence: StrictBool = Field(
        False, description="You have read its licence, which limits what it may be used for, and agree"
    )


@router.get("")
def list_models(
    services: Services,
    caller: Annotated[Caller, callers(Scope.PROVIDERS_READ)],
    installed: Annotated[bool, Query(description="Only those that are installed")] = False,
) -> Models:
    """The local models, and how far installations are. The event `model_install` tells of their states."""
    del caller
    folder = models_folder(services.managed.in_force().providers)
    advised = {language: {model.name for model in small_set(language)} for language in languages_with_sets()}
    found = [_model(each, folder, advised, services.installs.of(each.name)) for each in catalog().values()]
    return Models(items=[model for model in found if model.installed or not installed])


@router.post("/{name}/install", status_code=202)
async def install_model(name: Name, body: InstallIn, services: Services, caller: Writer) -> InstallationOut:
    """Downloads and checks a model, behind those that were asked for before; it is used at once where the
    settings choose by themselves. A second request after a cut goes on where it was."""
    return _installation(
        await services.installs.install(name, caller.author, accept_licence=body.accept_licence)
    )


@router.delete("/{name}/install", status_code=204)
async def cancel_model_install(name: Name, services: Services, caller: Writer) -> None:
    """Cancels an installation; what was downloaded is kept for the next one."""
    await services.installs.cancel(name, caller.author)


@router.delete("/{name}", status_code=204)
async def remove_model(name: Name, services: Services, caller: Writer) -> None:
    """Deletes an installed model."""
    await services.installs.remove(name, caller.author)


def _model(
    model: CatalogModel, folder: ModelsFolder, advised: dict[str, set[str]], going: Installation | None
) -> Model:
    has = folder.has(model)
    return Model(
        name=model.name,
        role=model.role,
        provider=model.engine,
        languages=[language for language in model.languages if language != "*"],
        summary=model.summary,
        bytes=model.download_bytes,
        licence=model.licence,
        limits=model.limits,
        installed=has,
        needs="" if engine_installed(model) else model.needs,
        voices=[voice.name for voice in model.voices],
        removable=has and not model.package,
        advised_for=[language for language, names in advised.items() if model.name in names],
        installation=_installation(going) if going is not None else None,
    )


def _installation(going: Installation) -> InstallationOut:
    return InstallationOut(
        state=going.state,
        done_bytes=going.done_bytes,
        total_bytes=going.total_bytes,
        step=going.step,
        error=going.error,
    )
