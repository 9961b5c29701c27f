"""Files in a row: full, old, numbered, removed, never torn where it can be helped."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from xtcp_replay.recording.rotation import Limits, Rotating


class Clock:
    """Stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def opened(path: str) -> BinaryIO:
    """A file to write to."""
    return Path(path).open("wb")


def test_without_limits_there_is_one_file(tmp_path: Path) -> None:
    """Of the name given, whatever is written."""
    with Rotating(str(tmp_path / "a.pcapng"), opened, Limits()) as files:
        files.wrote(1 << 40)
        files.may_rotate(between_dumps=True)
        assert files.names == str(tmp_path / "a.pcapng")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pcapng"]


def test_a_full_file_ends_between_dumps(tmp_path: Path) -> None:
    """Not in the middle of one, unless it has grown to twice its size."""
    with Rotating(str(tmp_path / "a.pcap"), opened, Limits(size=100)) as files:
        files.wrote(99)
        files.may_rotate(between_dumps=True)
        assert files.files == 1
        files.wrote(100)
        files.may_rotate(between_dumps=False)
        assert files.files == 1
        files.may_rotate(between_dumps=True)
        assert files.files == 2
        files.wrote(200)
        files.may_rotate(between_dumps=False)
        assert files.files == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-00001.pcap", "a-00002.pcap", "a-00003.pcap"]


def test_an_old_file_ends_and_the_oldest_goes(tmp_path: Path) -> None:
    """By the clock; `keep` files stay, and the summary names those that are there."""
    clock = Clock()
    with Rotating(str(tmp_path / "a.pcap"), opened, Limits(seconds=60, keep=2), clock) as files:
        for minute in range(5):
            clock.now = minute * 61.0
            files.may_rotate(between_dumps=True)
        assert files.files == 5
        assert files.removed == 3
        assert files.names == f"{tmp_path / 'a-00004.pcap'} to a-00005.pcap"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-00004.pcap", "a-00005.pcap"]
