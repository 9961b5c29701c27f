"""`parquet:` and `lines:`: which folder, which format, which limits; all of it said by the destination's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xtcp import amounts
from xtcp.errors import UsageError

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.sinks.destination import Destination, Maker
    from xtcp.sinks.folders.file_format import Format
    from xtcp.sinks.folders.local_folder import Folder
    from xtcp.sinks.folders.partitioned import Limits
    from xtcp.sinks.sink import Sink

S3: Final = "s3://"
_ONLY_S3: Final = ("region", "endpoint")
# What both zstd and what may stand in for it can do.
_LEVELS: Final[Mapping[str, int]] = {"parquet": 22, "lines": 9, "store": 9}

_T = TypeVar("_T")


def parquet(destination: Destination) -> Maker:
    """Parquet files."""
    level = compression_level(destination)

    def form() -> Format:
        from xtcp.sinks.folders.parquet import LEVEL, Parquet

        return Parquet(LEVEL if level is None else level)

    return _maker(destination, form)


def lines(destination: Destination) -> Maker:
    """Compressed JSON lines."""
    level = compression_level(destination)

    def form() -> Format:
        from xtcp.sinks.folders.zstd_lines import LEVEL, Lines

        return Lines(LEVEL if level is None else level)

    return _maker(destination, form)


def limits(destination: Destination, age_s: float, keep_age_s: float | None, keep_size: int | None) -> Limits:
    """`rotate`, `rotate-bytes`, `keep-age`, `keep-bytes`, or else what the caller says. Raises `UsageError`."""
    from xtcp.sinks.folders.partitioned import DEFAULT_SIZE, Limits
    from xtcp.sinks.folders.retention import Keep

    return Limits(
        _amount(destination, "rotate", amounts.duration) or age_s,
        _amount(destination, "rotate-bytes", amounts.size) or DEFAULT_SIZE,
        Keep(
            _amount(destination, "keep-age", amounts.duration) or keep_age_s,
            _amount(destination, "keep-bytes", amounts.size) or keep_size,
        ),
    )


def compression_level(destination: Destination) -> int | None:
    """`compression-level`, None where it is not said. Raises `UsageError`."""
    level = _amount(destination, "compression-level", amounts.count)
    highest = _LEVELS[destination.scheme]
    if level is not None and level > highest:
        raise UsageError(f"{destination.name}: compression-level={level} is above {highest}.", "", "")
    return level


def _maker(destination: Destination, form: Callable[[], Format]) -> Maker:
    from xtcp.sinks.folders.partitioned import DEFAULT_AGE_S

    if not destination.address:
        raise UsageError(
            f"{destination.scheme}: names no folder.", "", f"Write {destination.scheme}:DIR, or s3://bucket/prefix."
        )
    bounds = limits(destination, DEFAULT_AGE_S, None, None)
    remote = destination.address.startswith(S3)
    for option in _ONLY_S3:
        if option in destination.options and not remote:
            raise UsageError(
                f"{destination.name}: {option} means nothing for a folder.", "", "It is of s3://bucket/prefix."
            )
    if remote and not destination.address.removeprefix(S3).strip("/"):
        raise UsageError(f"{destination.name} names no bucket.", "", f"Write {destination.scheme}:s3://bucket/prefix.")

    def make(account: Account) -> Sink:
        from xtcp.sinks.folders.partitioned import Partitioned

        made = form()
        return Partitioned(_folder(destination), made, account, bounds)

    return make


def _folder(destination: Destination) -> Folder:
    """Opened: a folder of this machine is made, a bucket is asked for. Raises `XtcpError`."""
    if destination.address.startswith(S3):
        from xtcp.sinks.folders.s3_folder import S3Folder

        return S3Folder(
            destination.name,
            destination.address.removeprefix(S3),
            region=destination.options.get("region"),
            endpoint=destination.options.get("endpoint"),
        )
    from xtcp.sinks.folders.local_folder import open_folder

    return open_folder(Path(destination.address), destination.name)


def _amount(destination: Destination, option: str, parse: Callable[[str], _T]) -> _T | None:
    text: Any = destination.options.get(option)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{destination.name}: {option}: {error}", "", "") from error
