"""The tree drawn at the top of `errors.py` is the tree that is there."""

import re

from mimi_mqtt import errors


def drawn() -> dict[str, str]:
    """Each drawn exception and the one it hangs from."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if branch := re.match(r"    (?:([│ ├└─]*)[├└]── )?([A-Z]\w+)(?:  |$)", line):
            depth = 0 if branch[1] is None else len(branch[1]) // 4 + 1
            path[depth:] = [branch[2]]
            parents[branch[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_drawn_tree_is_complete_and_true() -> None:
    there = {
        name: kind.__base__.__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__base__ is not None
    }
    assert drawn() == there
