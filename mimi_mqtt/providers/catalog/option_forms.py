"""The options of a provider, described for a form: type, meaning, default, and whether one is secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.requirements import preset_of, required, variables
from mimi_mqtt.providers.contract.provider import ProviderOptions, Role

_KEPT: Final = frozenset(
    {
        "type", "enum", "const", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "minLength", "maxLength", "items", "additionalProperties", "anyOf",
    }
)  # fmt: skip
"""Keywords of JSON Schema that say what a value may be."""


@dataclass(frozen=True, slots=True)
class DescribedOption:
    """One option. `schema` is the JSON schema of its value, of which null is left out; `roles` are those that
    take it, `needed_by` those that can't be used without it; `default` is None where there is none, and for a
    secret; `variables` can give it a value, too; `model`: it takes the name of a local model."""

    name: str
    roles: tuple[Role, ...]
    needed_by: tuple[Role, ...]
    schema: Mapping[str, Any]
    description: str
    default: object
    secret: bool
    variables: tuple[str, ...]
    model: bool


def described_options(name: str) -> list[DescribedOption]:
    """The options of the provider `name`, whichever role takes them; empty for one that is unknown."""
    found: dict[str, DescribedOption] = {}
    for role, model in registry.option_models(name).items():
        preset, properties = preset_of(name, model), model.model_json_schema()["properties"]
        usual = preset.defaults(role) if preset is not None else {}
        needed, named = required(name, model), variables(name, model)
        for option, schema in properties.items():
            known = found.get(option)
            here = (role,) if option in needed else ()
            if known is not None:
                found[option] = _joined(known, role, here)
                continue
            kinds = _without_null(schema)
            secret = any(kind.get("format") == "password" for kind in (kinds, *kinds.get("anyOf", ())))
            found[option] = DescribedOption(
                option, (role,), here, kinds, schema.get("description", ""),
                None if secret else usual.get(option, schema.get("default")),
                secret, tuple(named.get(option, ())), _takes_model(model, option),
            )  # fmt: skip
    return list(found.values())


def _joined(known: DescribedOption, role: Role, needed: tuple[Role, ...]) -> DescribedOption:
    return DescribedOption(
        known.name, (*known.roles, role), (*known.needed_by, *needed), known.schema, known.description,
        known.default, known.secret, known.variables, known.model,
    )  # fmt: skip


def _takes_model(model: type[ProviderOptions], option: str) -> bool:
    return model.model_option == option


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a value that is set: null takes an option back."""
    kept = {key: value for key, value in schema.items() if key in _KEPT}
    kinds = [kind for kind in kept.pop("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        return {**kept, **kinds[0]}
    return {**kept, "anyOf": kinds} if kinds else kept
