"""One request for a thing that is bob's."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Parts = Callable[[Path], AbstractAsyncContextManager[Mapping[str, Any]]]
"""Makes the fields of `ApiServices` that the routes need, in a folder of the test's own."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request that bob (a member, owner) may make of `path`, and eve (another member) may not.

    With `marker` the route is a list or a batch: both are answered, and only bob's answer has the marker in
    it. Without it eve gets 404, and bob something else, which is no error of the server.

    `nowhere` is the same path (and `nowhere_json` the same body) for a thing that there is none of: eve is
    told the same, so that she can't find out what others have.
    """

    path: str
    parts: Parts
    json: object = None
    content: bytes | None = None
    marker: str = ""
    nowhere: str = ""
    nowhere_json: object = None
