"""JSON from outside, held to RFC 8259: no NaN or Infinity, no lone surrogates, no numbers beyond 64 bits.

Nesting is bounded too. Python's own reader is more generous than what can later be encoded, stored or sent
on. Of a key that comes twice the last value counts, here and therefore everywhere in this process.
"""

import json
from typing import NoReturn

MAX_DEPTH = 64

_MAX_NUMBER_LENGTH = 20


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) <= _MAX_NUMBER_LENGTH and -(1 << 63) <= (value := int(digits)) < 1 << 64:
        return value
    raise ValueError("a number is too large")


def _finite(digits: str) -> float:
    value = float(digits)
    if value - value != 0.0:
        raise ValueError("a number is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=_finite)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def loads(raw: bytes) -> object:
    """The value that UTF-8 JSON stands for. Raises ValueError, and nothing else, when it is not such.

    Strings are free of lone surrogates and U+0000, and nesting is at most MAX_DEPTH, so the value can be
    encoded and stored anywhere. The caller bounds the size.
    """
    try:
        text = raw.decode()
        value: object = _DECODER.decode(text)
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(value)
        if "\\u" in text:
            _check_strings(value)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for part in level:
            children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
            below += [child for child in children if isinstance(child, dict | list)]
        if not below:
            return
        level = below
    raise ValueError("nested too deeply")


def _check_strings(value: object) -> None:
    plain = _ENCODER.encode(value)
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a string holds half a surrogate pair") from error
    if "\\u0000" in plain.replace("\\\\", ""):
        raise ValueError("a string holds U+0000")


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON. Raises ValueError when `value` holds what JSON can't.

    Half a surrogate pair (a language model may send one) becomes `?`.
    """
    try:
        return _ENCODER.encode(value).encode(errors="replace")
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
