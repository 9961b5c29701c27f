"""Time that tests make."""

from __future__ import annotations


class Clock:
    """Seconds that pass only while someone sleeps, or when `now` is set."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Passes it, and remembers."""
        assert seconds > 0
        self.slept.append(round(seconds, 6))
        self.now += seconds
