"""Local models of speech: what there is, what is installed, and installing, checking and removing it.

They lie in a folder that servers and users of this machine may share (providers.models_dir). A model is files
only: nothing of a downloaded package is run.
"""

import argparse
import json
import locale
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mimi_mqtt.config import load_settings
from mimi_mqtt.config.settings import Settings
from mimi_mqtt.errors import ConfigError, ModelError
from mimi_mqtt.models.catalog import Model, catalog, for_language, languages_with_sets, small_set
from mimi_mqtt.models.engines import engine_installed
from mimi_mqtt.models.folder import ModelsFolder
from mimi_mqtt.models.installing import Installer
from mimi_mqtt.models.progress import ProgressLines, megabytes
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.providers.languages import primary


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the four commands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = commands.add_parser("list", help="what there is, and what of it is installed")
    listing.add_argument("--language", metavar="TAG", help="only those that know this language")
    listing.add_argument("--json", action="store_true", help="a JSON array")
    listing.set_defaults(act=_list)
    install = commands.add_parser("install", help="download models")
    install.add_argument("names", nargs="*", metavar="NAME", help="a model that `list` shows")
    install.add_argument(
        "--language", action="append", default=[], metavar="TAG",
        help="the best small set of a language; may be given again",
    )  # fmt: skip
    install.add_argument(
        "--default", action="store_true",
        help="the small sets of English and of server.language, or else of this machine's locale",
    )  # fmt: skip
    install.add_argument(
        "--yes", action="store_true", help="ask nothing; what has to be agreed to is left out"
    )
    install.add_argument(
        "--accept-licence", action="append", default=[], metavar="NAME",
        help="you have read the licence of this model, which limits what it may be used for, and agree",
    )  # fmt: skip
    install.set_defaults(act=_install)
    check = commands.add_parser("check", help="read every byte of installed models and compare it")
    check.add_argument("names", nargs="*", metavar="NAME", help="default: all that are installed")
    check.add_argument("--repair", action="store_true", help="download damaged models again")
    check.set_defaults(act=_check)
    remove = commands.add_parser("remove", help="delete models")
    remove.add_argument("names", nargs="+", metavar="NAME")
    remove.set_defaults(act=_remove)
    for command in (listing, install, check, remove):
        command.add_argument("--models-dir", type=Path, metavar="DIR", help="default: providers.models_dir")
        command.add_argument("--config", type=Path, metavar="FILE", help="settings (default: as `serve`)")


def run(args: argparse.Namespace) -> int:
    """Does what was asked; 0 when all of it succeeded. Raises ConfigError for an unknown name."""
    settings = load_settings(args.config, os.environ)
    folder = ModelsFolder(args.models_dir) if args.models_dir else models_folder(settings.providers)
    code: int = args.act(args, settings, folder)
    return code


def _list(args: argparse.Namespace, settings: Settings, folder: ModelsFolder) -> int:
    models: Iterable[Model] = catalog().values()
    if args.language:
        models = for_language(primary(args.language), models)
    rows = [_row(model, folder) for model in models]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    print(f"models in {folder.path}")
    for row in rows:
        print(f"  {row['name']:<34} {row['role']}  {row['state']}")
        print(f"      {row['summary']}; {row['spoken']}; {row['size']}; {row['licence']}{row['note']}")
    return 0


def _row(model: Model, folder: ModelsFolder) -> dict[str, object]:
    installed = folder.has(model)
    lacking = "" if engine_installed(model) else f"needs pip install 'mimi-mqtt[{model.needs}]'"
    limits = {"community": "community licence", "non-commercial": "not for commercial use"}.get(
        model.limits, ""
    )
    notes = [limits, lacking]
    return {
        "name": model.name,
        "role": model.role,
        "provider": model.engine,
        "languages": [language for language in model.languages if language != "*"],
        "spoken": ", ".join(model.languages).replace("*", "others"),
        "summary": model.summary,
        "size": megabytes(model.download_bytes) if model.download_bytes else "comes with its package",
        "bytes": model.download_bytes,
        "licence": model.licence,
        "limits": model.limits,
        "installed": installed,
        "needs": model.needs if lacking else "",
        "state": "installed" if installed else "-",
        "note": "".join(f"; {note}" for note in notes if note),
        "voices": [voice.name for voice in model.voices],
    }


def _install(args: argparse.Namespace, settings: Settings, folder: ModelsFolder) -> int:
    models = _asked(args, settings)
    if not models:
        raise ConfigError("name a model (mimi-mqtt models list), --language TAG or --default")
    installer = Installer(folder, progress := ProgressLines())
    failed = False
    for model in models:
        if folder.has(model):
            if not args.default:
                print(f"{model.name} is installed")
            continue
        unasked = args.default and model.name not in args.names
        if unasked and not engine_installed(model):
            continue  # what nobody could run is not worth its download
        refusal = _refusal(model, args)
        if refusal:
            if unasked:
                continue  # said at each start it would be noise: `list` tells of it
            print(f"{model.name}: {refusal}", file=sys.stderr)
            failed = failed or model.name in args.names
            continue
        try:
            progress.say(f"{model.name}: {megabytes(model.download_bytes)}, licence {model.licence}")
            installer.install(model)
            print(f"{model.name} is installed in {folder.path / model.name}")
            if not engine_installed(model):
                print(f"  to use it: pip install 'mimi-mqtt[{model.needs}]'")
        except ModelError as error:
            print(f"mimi-mqtt: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def _asked(args: argparse.Namespace, settings: Settings) -> Sequence[Model]:
    chosen = [_named(name) for name in args.names]
    languages = [primary(language) for language in args.language]
    for language in languages:
        if not small_set(language):
            known = ", ".join(languages_with_sets())
            raise ConfigError(f"--language {language}: there is no set for it, only for {known}")
    if args.default:
        languages += ["en", _language_of_the_house(settings)]
    chosen += [model for language in languages for model in small_set(language)]
    return list({model.name: model for model in chosen}.values())


def _language_of_the_house(settings: Settings) -> str:
    """`server.language` where it is set, else that of this machine's locale."""
    if "language" in settings.server.model_fields_set:
        return primary(settings.server.language)
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            return primary(locale.normalize(value).partition(".")[0])
    return "en"


def _named(name: str) -> Model:
    model = catalog().get(name)
    if model is None:
        raise ConfigError(f"there is no model {name}: see mimi-mqtt models list")
    return model


def _refusal(model: Model, args: argparse.Namespace) -> str:
    """The reason for which `model` may not be installed yet; empty when it may."""
    if model.limits and model.name not in args.accept_licence:
        use = "only under a community licence" if model.limits == "community" else "not for commercial use"
        told = f"its licence ({model.licence}) lets it be used {use}"
        if args.yes or not sys.stdin.isatty():
            return f"{told}: --accept-licence {model.name}"
        if input(f"{model.name}: {told}. Agree? [y/N] ").strip().lower() not in ("y", "yes"):
            return "not installed"
    return ""


def _check(args: argparse.Namespace, settings: Settings, folder: ModelsFolder) -> int:
    models = [_named(name) for name in args.names] or [m for m in folder.installed() if not m.package]
    installer = Installer(folder, ProgressLines())
    failed = False
    for model in models:
        if model.package or not folder.has(model):
            print(f"{model.name}: {'comes with its package' if folder.has(model) else 'is not installed'}")
            failed = failed or not folder.has(model)
            continue
        damages = installer.check(model)
        for damage in damages:
            print(f"{model.name}: {damage.file} {damage.what}")
        if not damages:
            print(f"{model.name}: good")
        elif args.repair:
            try:
                installer.install(model, again=True)
                print(f"{model.name}: replaced")
            except ModelError as error:
                print(f"mimi-mqtt: {error}", file=sys.stderr)
                failed = True
        else:
            print(f"  to replace it: mimi-mqtt models check {model.name} --repair")
            failed = True
    if not models:
        print(f"no model is installed in {folder.path}")
    return 1 if failed else 0


def _remove(args: argparse.Namespace, settings: Settings, folder: ModelsFolder) -> int:
    installer = Installer(folder, ProgressLines())
    for model in [_named(name) for name in args.names]:
        if model.package:
            raise ConfigError(f"{model.name} comes with its package, and goes with it")
        print(f"{model.name} {'was removed' if installer.remove(model) else 'is not installed'}")
    return 0
