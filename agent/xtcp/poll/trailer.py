"""Trailer: what a poll says of itself, so that whoever has the rows can tell whether they are all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from xtcp.spelling import cleaned

# `incomplete` and `filtered` only of a replay: the capture lacks the dump's end; rows were chosen. The last four are
# the daemon's: the queue of the sink that reads this had no room for some rows; rows were shed for want of memory;
# the poll was broken off by the end of the agent; the wall clock stepped since the poll before.
FLAGS = (
    *("interrupted", "truncated", "overrun", "error", "deadline", "limit", "incomplete", "filtered"),
    *("dropped", "shed", "shutdown", "clock"),
)


@dataclass(frozen=True)
class Trailer:
    """The end of a poll.

    Times are ns: wall since 1970, monotonic since boot; before the first request and after the last DONE. `messages`
    is what the kernel sent, `rows` what was decoded, `duplicates` of these removed, so `rows - duplicates` were
    delivered; `messages == rows + quarantined + control`. `flags` are those of `FLAGS` that apply; none: the poll is
    complete, as far as the kernel tells. `suspended_ns` is how long the host slept since the poll before.
    Names are cleaned, as those of a `Context` are.
    """

    hostname: str
    boot_id: str
    poll_id: int
    netns: str
    release: str
    byte_order: str
    wall_start_ns: int
    wall_end_ns: int
    monotonic_start_ns: int
    monotonic_end_ns: int
    dumps: int
    messages: int
    rows: int
    duplicates: int
    quarantined: int
    damaged: int
    control: int
    forged: int
    unknown: Mapping[str, int] = field(default_factory=dict)
    surplus: Mapping[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    suspended_ns: int = 0

    def __post_init__(self) -> None:
        for name in ("hostname", "netns", "release"):
            object.__setattr__(self, name, cleaned(getattr(self, name)))

    def flagged(self, flag: str) -> Trailer:
        """The same with one of `FLAGS` more."""
        return replace(self, flags=tuple(f for f in FLAGS if f == flag or f in self.flags))

    @property
    def seconds(self) -> float:
        """Duration by the monotonic clock."""
        return (self.monotonic_end_ns - self.monotonic_start_ns) / 1e9

    @property
    def delivered(self) -> int:
        """Unique rows."""
        return self.rows - self.duplicates

    def as_dict(self) -> dict[str, object]:
        """All fields, flags as a list."""
        return {**asdict(self), "unknown": dict(self.unknown), "surplus": dict(self.surplus), "flags": list(self.flags)}

    def line(self) -> str:
        """One line for people."""
        parts = [
            f"{self.delivered:,} socket{'' if self.delivered == 1 else 's'} in {self.seconds:.3f} s",
            f"{self.messages:,} messages",
        ]
        parts += [
            f"{count:,} {name}"
            for name, count in (
                ("duplicates removed", self.duplicates),
                ("quarantined", self.quarantined),
                ("damaged", self.damaged),
                ("from another sender dropped", self.forged),
            )
            if count
        ]
        if self.unknown:
            parts.append("unknown attributes " + " ".join(f"{name}×{count:,}" for name, count in self.unknown.items()))
        if self.surplus:
            parts.append("longer than known " + " ".join(f"{name}×{count:,}" for name, count in self.surplus.items()))
        parts.append(" ".join(self.flags).upper() if self.flags else "complete")
        return ", ".join(parts)
