"""The Jinja2 environment of prompts: sandboxed, and bounded in what a template makes while it is filled in.

A template can double a text, a list or a number with each statement, so not its length but what it makes is
bounded: every text and list that an expression, a filter or a method yields is counted against one `Budget` a
rendering.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

MAX_LOOP_STEPS: Final = 1_000
"""Steps of all loops in one rendering."""
MAX_MADE_CHARS: Final = 1_000_000
"""Characters, items and digits of all values that one rendering makes."""
MAX_NUMBER: Final = 2**63
"""Largest factor of a product."""

_MAX_DECIMALS: Final = 15
_ITEM: Final = 8  # the weight of a value that is neither a text nor a list

_STEPS: Final = "_steps"
_MADE: Final = "_made"
_JOINED: Final = "_joined"
_INSTRUMENTS: Final = frozenset({_STEPS, _MADE, _JOINED})
"""Filters that `instrument` adds; a template may not name them."""

_WIDENING: Final = frozenset(
    {
        "batch", "center", "encode", "expandtabs", "format", "format_map", "from_bytes", "indent", "ljust",
        "maketrans", "pprint", "rjust", "slice", "to_bytes", "tojson", "translate", "wordwrap", "zfill",
    }
)  # fmt: skip
"""Filters and methods that make long texts out of short ones, and that a prompt does not need."""


class Budget:
    """The budget that is left for one rendering."""

    __slots__ = ("_chars", "_steps")

    def __init__(self) -> None:
        self._steps = MAX_LOOP_STEPS
        self._chars = MAX_MADE_CHARS

    def step(self) -> None:
        """One step of a loop. Raises ValueError beyond the last."""
        self._steps -= 1
        if self._steps < 0:
            raise ValueError(f"its loops take over {MAX_LOOP_STEPS} steps")

    def take(self, chars: int) -> None:
        """Takes off what is made, before it is. Raises ValueError when it is too much."""
        self._chars -= chars
        if self._chars < 0:
            raise ValueError(f"it makes over {MAX_MADE_CHARS} characters on the way")

    def weigh(self, value: object) -> None:
        """Takes off a value with all that is in it."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if isinstance(each, str | bytes):
                self.take(len(each) + 1)
            elif isinstance(each, list | tuple | set | frozenset):
                self.take(len(each) + 1)
                waiting += each
            elif isinstance(each, dict):
                self.take(len(each) + 1)
                waiting += each.keys()
                waiting += each.values()
            elif isinstance(each, int):
                self.take(_ITEM + each.bit_length() // 3)
            else:
                self.take(_ITEM)


_budget: ContextVar[Budget] = ContextVar("budget of a prompt")


@contextmanager
def budget() -> Iterator[None]:
    """Gives the template that is compiled or filled in inside a new budget."""
    token = _budget.set(Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def _made(value: object) -> object:
    """`value`, counted."""
    _budget.get().weigh(value)
    return value


def _counted(values: Iterable[object]) -> Iterator[object]:
    """`values` for a loop, as long as steps are left."""
    taken = _budget.get()
    for value in values:
        taken.step()
        yield value


def _joined(parts: Iterable[object]) -> str:
    """The operator ~."""
    return _join(parts)


def _join(values: Iterable[object], between: str = "", attribute: object = None) -> str:
    if attribute is not None:
        raise TypeError("join takes no attribute here: use map(attribute=…) before it")
    taken, parts = _budget.get(), list[str]()
    for value in values:
        text = str(value)
        taken.take(len(text) + len(between) + 1)
        parts.append(text)
    return str(between).join(parts)


def _replace(value: object, old: object, new: object, count: int | None = None) -> str:
    text, old, new = str(value), str(old), str(new)
    times = text.count(old) if count is None or count < 0 else min(text.count(old), count)
    _budget.get().take(len(text) + times * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    import math

    if not -_MAX_DECIMALS <= precision <= _MAX_DECIMALS:
        raise ValueError(f"round takes {-_MAX_DECIMALS} to {_MAX_DECIMALS} decimals")
    if method == "common":
        return round(float(value), precision)
    if method not in ("ceil", "floor"):
        raise ValueError("round knows common, ceil and floor")
    scale = 10.0**precision
    return (math.ceil if method == "ceil" else math.floor)(value * scale) / scale


_OWN: Final[Mapping[str, Callable[..., object]]] = {"join": _join, "replace": _replace, "round": _round}


def _bounded(function: Callable[..., object]) -> Callable[..., object]:
    """A filter whose results are counted."""

    @functools.wraps(function)  # with the mark that it wants the context, where it has one
    def call(*given: object, **named: object) -> object:
        return _made(function(*given, **named))

    return call


@cache
def environment() -> "SandboxedEnvironment":
    """The environment that all templates share."""
    # Importing Jinja2 takes longer than most commands.
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Refuses or counts what makes long texts out of short ones."""

        intercepted_binops = frozenset({"*", "**", "%", "+"})

        def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if operator == "+":
                if not numbers:
                    _made((left, right))
            elif operator == "**":
                raise SecurityError("** is not possible")
            elif not numbers:
                raise SecurityError(f"{operator} is for numbers")
            elif operator == "*" and any(
                isinstance(it, int) and abs(it) > MAX_NUMBER for it in (left, right)
            ):
                raise SecurityError("a product of numbers that large is not possible")
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
            return attr not in _WIDENING and super().is_safe_attribute(obj, attr, value)

        def call(self, context: Context, function: object, *given: Any, **named: Any) -> object:
            owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
            if isinstance(owner, str) and name == "join":
                (values,) = given
                return _join(values, owner)
            if isinstance(owner, str) and name == "replace":
                return _replace(owner, *given)
            return _made(super().call(context, function, *given, **named))

    made = Environment(undefined=StrictUndefined, autoescape=False, finalize=_made)
    made.globals.clear()
    filters: dict[str, Callable[..., object]] = {**made.filters, **_OWN}
    made.filters.clear()
    made.filters.update({name: _bounded(it) for name, it in filters.items() if name not in _WIDENING})
    made.filters.update({_STEPS: _counted, _MADE: _made, _JOINED: _joined})
    return made


def instrument(tree: "nodes.Template") -> None:
    """Has the loops, lists and concatenations of a parsed template counted. Raises ValueError for a filter
    that is not a template's."""
    from jinja2 import nodes

    for used in tree.find_all(nodes.Filter):
        if used.name in _INSTRUMENTS:
            raise ValueError(f"there is no filter {used.name!r}")
    _count(tree)


def _count(node: "nodes.Node") -> None:
    from jinja2 import nodes

    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            _count(value)
            setattr(node, name, _counted_node(value))
        elif isinstance(value, list):
            for inner in value:
                if isinstance(inner, nodes.Node):
                    _count(inner)
            setattr(node, name, [_counted_node(it) if isinstance(it, nodes.Node) else it for it in value])
    if isinstance(node, nodes.For):
        node.iter = _filtered(node.iter, _STEPS)


def _counted_node(node: "nodes.Node") -> "nodes.Node":
    from jinja2 import nodes

    if isinstance(node, nodes.Concat):
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), _JOINED)
    if isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        return _filtered(node, _MADE)
    return node


def _filtered(node: "nodes.Node", name: str) -> "nodes.Filter":
    from jinja2 import nodes

    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
