"""Token bucket: the rate of messages, datagrams or requests of one sender; pure."""


class TokenBucket:
    """Allows `burst` messages at once and `rate` messages a second in the long run; starts full.

    `now` is monotonic seconds; a clock that goes back earns nothing. `rate` must be positive.
    """

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Takes one message, or `amount` of whatever is counted; False when less is left."""
        left = self._left
        if now > self._at:
            left += (now - self._at) * self.rate
            if left > self.burst:
                left = self.burst
            self._at = now
        if left < amount:
            self._left = left
            return False
        self._left = left - amount
        return True

    def spend(self, amount: float, now: float) -> None:
        """Takes `amount` that is used already, whatever is left; at most a burst is owed."""
        self._left = max(self.left(now) - amount, -self.burst)
        self._at = max(self._at, now)

    def give_back(self) -> None:
        """Returns one message that was taken and turned out not to count."""
        self._left = min(self._left + 1.0, self.burst)

    def left(self, now: float) -> float:
        """Messages that may be taken at `now`, with a fraction."""
        return min(self.burst, self._left + max(0.0, now - self._at) * self.rate)

    def is_full(self, now: float) -> bool:
        """True when the bucket at `now` equals a new one, so that it can be forgotten."""
        return self.left(now) >= self.burst

    def wait_s(self, now: float) -> float:
        """Seconds until one message may be taken; 0 when one may be taken now."""
        return max(0.0, 1.0 - self.left(now)) / self.rate
