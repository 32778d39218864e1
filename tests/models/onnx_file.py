"""Writes ONNX files: as much of the format (onnx.proto3, protocol buffers) as small graphs need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

_FLOAT, _INT32, _INT64 = 1, 6, 7


@dataclass
class Graph:
    """`inputs` and `outputs` are (name, "float", "int32" or "int64", shape); a shape's strings are free
    dimensions."""

    inputs: Sequence[tuple[str, str, Sequence[int | str]]]
    outputs: Sequence[tuple[str, str, Sequence[int | str]]]
    constants: Mapping[str, npt.NDArray[Any]]
    nodes: list[bytes] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], output: str, **integers: int) -> None:
        """A node with integer attributes."""
        node = b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode())
        node += _bytes(3, output.encode()) + _bytes(4, operator.encode())
        for name, value in integers.items():
            node += _bytes(5, _bytes(1, name.encode()) + _number(3, value) + _number(20, 2))
        self.nodes.append(node)

    def file(self, about: Mapping[str, str | int]) -> bytes:
        """The whole file."""
        graph = b"".join(_bytes(1, node) for node in self.nodes) + _bytes(2, b"tiny")
        graph += b"".join(_bytes(5, _tensor(name, value)) for name, value in self.constants.items())
        graph += b"".join(_bytes(11, _value(*value)) for value in self.inputs)
        graph += b"".join(_bytes(12, _value(*value)) for value in self.outputs)
        model = _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, 13))
        return model + metadata(about)


def metadata(about: Mapping[str, str | int]) -> bytes:
    """The end of a file that says `about` of its model; may be appended to any ONNX file."""
    return b"".join(
        _bytes(14, _bytes(1, key.encode()) + _bytes(2, str(value).encode())) for key, value in about.items()
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _bytes(tag: int, value: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(value)) + value


def _tensor(name: str, value: npt.NDArray[Any]) -> bytes:
    kind, raw = (_INT64, "<i8") if value.dtype.kind == "i" else (_FLOAT, "<f4")
    dims = b"".join(_number(1, size) for size in value.shape)
    return dims + _number(2, kind) + _bytes(8, name.encode()) + _bytes(9, value.astype(raw).tobytes())


def _value(name: str, kind: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(
        _bytes(1, _number(1, size) if isinstance(size, int) else _bytes(2, size.encode())) for size in shape
    )
    element = _number(1, {"float": _FLOAT, "int32": _INT32, "int64": _INT64}[kind])
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, element + _bytes(2, dims)))
