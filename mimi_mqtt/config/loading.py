"""Reads broker.yaml and MIMI_* variables, overlays them, validates once, and explains what is wrong.

A variable's name is `MIMI_` and the key in capitals, `__` between the levels: `MIMI_HTTP__BIND=0.0.0.0:80`.
Variables win over the file. Their values are read as YAML, so lists and booleans work.
"""

import difflib
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mimi_mqtt.config.problems import wording
from mimi_mqtt.config.settings import Settings
from mimi_mqtt.errors import ConfigError

PREFIX = "MIMI_"
DEFAULT_FILE = Path("broker.yaml")

# Variables with the prefix that are not settings: read by the scripts and by commands.
_NOT_SETTINGS = frozenset({"MIMI_BACKUP_PASSPHRASE", "MIMI_CONFIG", "MIMI_VENV"})

_MAX_DEPTH = 32
_MAX_NODES = 100_000  # values and keys of one document, counted again wherever an alias repeats them
_MAX_SHOWN = 80  # characters of a wrong value

_PRIVATE = frozenset({"prompt", "greeting"})  # words that are no business of the log

_LONG_QUOTATION = re.compile(r"'[^']{4,}'")

_Path = tuple[str, ...]

_MOVED: Mapping[_Path, str] = {
    ("session", "wake_word"): "assistant.wake_word",
    ("voice", "eager_silence_ms"): "voice.preemptive_silence_ms",
}
"""Keys that were moved or renamed, with the key that takes their place."""


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in force.

    `path` None means `MIMI_CONFIG` from `environ`, else broker.yaml in the current folder if there is one.
    Raises ConfigError with one line per mistake: the key, where it was set, and what is allowed.
    """
    path = settings_file(path, environ)
    tree: dict[str, Any] = {}
    sources: dict[_Path, str] = {}
    if path is not None:
        tree = _read_file(path, sources)
    _overlay_variables(tree, environ, sources)
    _fill_empty_sections(tree, ())
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        lines = [_explain(problem, sources) for problem in problems]
        raise ConfigError("the configuration is wrong:\n  " + "\n  ".join(lines)) from None


def settings_sources(path: Path | None, environ: Mapping[str, str]) -> Mapping[_Path, str]:
    """The place where each key is set that has not its default: a variable, or the file and its line. Raises
    ConfigError when the file can't be read."""
    path = settings_file(path, environ)
    tree: dict[str, Any] = {}
    sources: dict[_Path, str] = {}
    if path is not None:
        tree = _read_file(path, sources)
    _overlay_variables(tree, environ, sources)
    return sources


def settings_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that `load_settings` reads; None when there are variables and defaults only."""
    if path is None and environ.get("MIMI_CONFIG"):
        return Path(environ["MIMI_CONFIG"])
    if path is None and DEFAULT_FILE.is_file():
        return DEFAULT_FILE
    return path


def _read_file(path: Path, sources: dict[_Path, str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from error
    node, value = parse_yaml(text, f"{path} is")
    if value is None:
        return {}
    if not isinstance(value, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}, line 1: must be a mapping of sections such as `mqtt:`")
    note_lines(node, (), path, sources)
    return value


def note_lines(node: yaml.Node, where: _Path, path: Path, sources: dict[_Path, str]) -> None:
    """Adds the place of each key below `where` to `sources`. Raises ConfigError for one that is set twice."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        key = (*where, str(key_node.value))
        line = key_node.start_mark.line + 1
        if key in sources:
            raise ConfigError(f"{path}, line {line}: {'.'.join(key)} is set twice")
        sources[key] = f"{path}, line {line}"
        note_lines(value_node, key, path, sources)


def _overlay_variables(tree: dict[str, Any], environ: Mapping[str, str], sources: dict[_Path, str]) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _NOT_SETTINGS:
            continue
        where = tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))
        text = environ[name]
        value = text if wants_text(where) else _read_value(name, text)
        branch = tree
        for depth, part in enumerate(where[:-1]):
            inner = branch.get(part)
            if inner is None:
                inner = branch[part] = {}
            if not isinstance(inner, dict):
                above = ".".join(where[: depth + 1])
                raise ConfigError(f"variable {name}: {above} is a value, not a section")
            branch = inner
        branch[where[-1]] = value
        sources[where] = f"variable {name}"


def _fill_empty_sections(branch: dict[str, Any], where: _Path) -> None:
    """Makes a section whose keys are all commented out an empty one."""
    for name, value in branch.items():
        inner = (*where, str(name))
        if value is None and _is_section(_field_at(inner)):
            branch[name] = {}
        elif isinstance(value, dict):
            _fill_empty_sections(value, inner)


def _read_value(name: str, text: str) -> object:
    return parse_yaml(text, f"variable {name}: its value is")[1]


def parse_yaml(text: str, subject: str) -> tuple[yaml.Node | None, object]:
    """The document and its value. Raises ConfigError, whose message begins with `subject`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and _too_large(node):
            raise ConfigError(f"{subject} nested too deeply, or repeats too much by aliases")
        return node, yaml.safe_load(text)
    except RecursionError:
        raise ConfigError(f"{subject} nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{subject} not valid YAML: {_yaml_problem(error)}") from None


def _too_large(document: yaml.Node) -> bool:
    """True when walking over the value takes too long: aliases may repeat a part, and what is within it."""
    level, seen = [document], 0
    for _ in range(_MAX_DEPTH):
        below: list[yaml.Node] = []
        for node in level:
            if isinstance(node, yaml.MappingNode):
                below += [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                below += node.value
            if seen + len(below) > _MAX_NODES:
                return True
        if not below:
            return False
        seen += len(below)
        level = below
    return True


def _yaml_problem(error: yaml.YAMLError | ValueError) -> str:
    """The kind of mistake and its place, without the words of the file: those may be a password."""
    if isinstance(error, ValueError):
        return "a date in it is none"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it holds a character that YAML does not allow"
    mark = error.problem_mark
    problem = _LONG_QUOTATION.sub("'…'", error.problem or "it can't be read")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def wants_text(where: _Path) -> bool:
    """True for a setting that is a string: a password of digits must stay one."""
    field = _field_at(where)
    if field is None:
        return False
    options = get_args(field) if get_origin(field) in (Union, types.UnionType) else (field,)
    kept = [option for option in options if option is not type(None)]
    return all(isinstance(kind, type) and kind.__name__ in ("str", "SecretStr", "Path") for kind in kept)


def _field_at(where: _Path) -> object | None:
    """The type of the setting at `where`; None when there is none."""
    annotation: object | None = Settings
    for part in where:
        if (inner := _values_of(annotation)) is not None:
            annotation = inner
        elif (model := _section(annotation)) is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
        else:
            return None
    return annotation


def _section(annotation: object | None) -> type[BaseModel] | None:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _is_section(annotation: object | None) -> bool:
    return _section(annotation) is not None or _values_of(annotation) is not None


def _values_of(annotation: object | None) -> object | None:
    """The type of the values of a section whose keys are free, such as `agents`; None for any other."""
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def _explain(problem: ErrorDetails, sources: Mapping[_Path, str]) -> str:
    where = tuple(str(part) for part in problem["loc"] if part != "[key]")
    source = next((sources[where[:end]] for end in range(len(where), 0, -1) if where[:end] in sources), "")
    key = ".".join(where) or "broker.yaml"
    place = f" ({source})" if source else ""
    if problem["type"] == "extra_forbidden":
        if where in _MOVED:
            return f"{key}{place}: is now {_MOVED[where]}"
        return f"{key}{place}: {_unknown(where[-1], _known_keys(where[:-1]))}"
    return f"{key}{place}: {_wrong(problem, where)}"


def explain_value(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """The fault in one field of a `model` that does not come from broker.yaml, in the same words."""
    where = tuple(str(part)[:_MAX_SHOWN] for part in problem["loc"] if part != "[key]")
    key = ".".join(where) or "the content"
    if problem["type"] == "extra_forbidden":
        return f"{key}: {_unknown(where[-1], list(model.model_fields))}"
    if key in _PRIVATE:
        return f"{key}: {wording(problem)}"
    return f"{key}: {_wrong(problem, where)}"


def _unknown(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "known keys here: " + ", ".join(known)
    return f"there is no such key; {hint}"


def _wrong(problem: ErrorDetails, where: _Path) -> str:
    """The values that are allowed, and the one given where that is no secret."""
    message = wording(problem)
    given = problem["input"]
    shown = f", not {_shown(given)}" if isinstance(given, str | int | float) and not is_secret(where) else ""
    if shown and shown.removeprefix(", ") in message:
        shown = ""
    return f"{message}{shown}"


def _shown(given: str | int | float) -> str:
    """A wrong value as a message quotes it."""
    try:
        text = repr(given)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return "a number that large"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def is_secret(where: _Path) -> bool:
    """True for a setting whose value must not be told."""
    return any(word in part for part in where for word in ("password", "key", "secret", "token", "url"))


def _known_keys(where: _Path) -> list[str]:
    model = _section(_field_at(where))
    return list(model.model_fields) if model is not None else []
