"""Times, days and flags as clients send them: what the document does not tell of is refused, not guessed.

Pydantic takes numbers for seconds since 1970, and numbers and words such as "off" for flags.
"""

from datetime import date
from typing import Final

from pydantic import BeforeValidator, StrictBool

Flag = StrictBool
"""true or false in a body."""


def _no_number(given: object) -> object:
    if given is None or isinstance(given, date):  # a datetime is a date, too
        return given
    if isinstance(given, str):
        try:
            float(given)
        except ValueError:
            return given
    raise ValueError(
        "a number is no time: write it as in ISO 8601, such as 2026-11-27 or 2026-11-27T09:30:00Z"
    )


NoNumber: Final = BeforeValidator(_no_number)
"""Of a time or day: refuses numbers, as `Annotated[datetime, NoNumber]`."""
