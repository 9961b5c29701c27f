"""What the collector reads at most, of any sender; no NumPy, for `--help` names it."""

from __future__ import annotations

from typing import Final

# A datagram of 64 KiB of the shortest rows there are has about 1,500.
ROWS_PER_DATAGRAM: Final = 2000
# A Kafka message of 1 MB, or a frame of a file.
ROWS_PER_MESSAGE: Final = 100_000
LARGEST_MESSAGE: Final = 2 << 20
# Messages are read in pieces of so many bytes: the index of one stays in the cache, and memory is bounded.
PIECE_BYTES: Final = 128 << 10
