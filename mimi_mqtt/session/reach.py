"""Ways in which a device can be told something."""

from enum import Enum


class Reach(Enum):
    """The way in which a device can be told something at this moment."""

    AWAY = "away"
    """It is not connected."""
    TALKING = "talking"
    """It has a session: by an announcement in it."""
    NOTIFY = "notify"
    """It is idle and fetches what it is notified of."""
    ALERT = "alert"
    """It is idle and shows alerts alone."""
    SILENT = "silent"
    """It is connected, and can be told nothing until its next session."""
