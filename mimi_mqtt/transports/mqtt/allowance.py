"""How much one sender may still send: a token bucket; pure."""


class Allowance:
    """Earns `rate` messages a second up to `burst`, and starts full. `now` is monotonic seconds."""

    __slots__ = ("_at", "left")

    def __init__(self, burst: float, now: float) -> None:
        self.left = burst
        self._at = now

    def is_full(self, rate: float, burst: float, now: float) -> bool:
        """Whether nothing was taken that has not been earned again."""
        return self.left + (now - self._at) * rate >= burst

    def take(self, rate: float, burst: float, now: float) -> bool:
        """Takes one message; False when there is none to take."""
        self.left = min(burst, self.left + (now - self._at) * rate)
        self._at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
