"""Messages about wrong values in plain words, for people who know nothing of Python's types."""

from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails

_A_SECTION: Final = "must be a section: keys with their values"

_WORDS: Final[Mapping[str, str]] = {
    "dict_type": _A_SECTION,
    "model_type": _A_SECTION,
    "model_attributes_type": _A_SECTION,
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be the path of a file or folder",
}
"""By pydantic's type of error; its own words serve for the rest."""

_URLS: Final[Mapping[str, str]] = {"^https?://": "http:// or https://", "^https://": "https://"}
"""Beginnings of the patterns of addresses, with the words for them."""


def wording(problem: ErrorDetails) -> str:
    """The allowed values in words, such as "must be a whole number"; without the key and what was given."""
    if problem["input"] is None and problem["type"] != "value_error":
        return "must not be empty: leave the key out for its default"
    if problem["type"] == "string_pattern_mismatch":
        for pattern, schemes in _URLS.items():
            if pattern in problem["msg"]:
                return f"must be an address that begins with {schemes}"
    message = _WORDS.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be ", "must be ")
    for subject in ("Value", "String"):
        message = message.replace(f"{subject} should ", "must ")
    return message.replace(" after validation", "").removesuffix(".")
