"""Signed datagrams: a footer behind the datagram says who sent it and when, and cannot be made without the key.

    datagram | key id, 8 bytes | wall clock, u64 ns, big-endian | HMAC-SHA256, first 16 bytes | "XTS1"

The HMAC (RFC 2104, cut as its section 5 allows) is over all that stands before it. The key id is the first 8 bytes of
SHA-256 over `b"xtcp key id\\0"` and the key, so sender and receiver need to agree on nothing but the key, and a
receiver may know several while a fleet moves from one to the next. A footer is older or younger than `WINDOW_S` by the
receiver's clock at most; what is repeated within it is found by its sequence number.

A key file holds a key a line, 16 bytes or more, spaces around it left out; lines that begin with # are remarks. The
sender signs with the first. Both sides read it with `Keys.of_file`; a sender keeps `FOOTER` bytes of its limit free.
"""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path
from typing import Final

from xtcp.errors import ConfigurationError, PermissionMissing, UsageError

MAGIC: Final = b"XTS1"
FOOTER: Final = 36
WINDOW_S: Final = 300
SHORTEST_KEY: Final = 16

UNSIGNED: Final = "not signed"
UNKNOWN_KEY: Final = "unknown key"
WRONG: Final = "wrong signature"
OUT_OF_TIME: Final = "signed too long ago or ahead"

_ID: Final = 8
_MAC: Final = 16


class Keys:
    """The keys of one side; the first one signs. Raises `ConfigurationError` for one that is too short."""

    def __init__(self, *keys: bytes) -> None:
        if not keys or min(map(len, keys)) < SHORTEST_KEY:
            raise ConfigurationError(
                f"A key for signing needs {SHORTEST_KEY} bytes or more.",
                "A short one can be guessed.",
                "Make one: head -c 32 /dev/urandom | base64",
            )
        self._by_id = {hashlib.sha256(b"xtcp key id\0" + key).digest()[:_ID]: key for key in keys}
        self._id, self._key = next(iter(self._by_id.items()))

    @classmethod
    def of_file(cls, path: str) -> Keys:
        """The keys in the file at `path`. Raises `XtcpError` where it cannot be read, or anybody can read it."""
        file = Path(path)
        try:
            if file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise ConfigurationError(
                    f"{path}: everybody on this host can read or write this file of keys.",
                    "Whoever has a key can send rows in the name of any host.",
                    f"Take the right away: chmod o= {path}",
                )
            lines = [line.strip() for line in file.read_bytes().splitlines()]
        except PermissionError as error:
            raise PermissionMissing(
                f"{path}: {error.strerror}.", "The file of keys belongs to another user."
            ) from error
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}.", "", "Name the file with the keys.") from error
        keys = [line for line in lines if line and not line.startswith(b"#")]
        if not keys:
            raise ConfigurationError(f"{path}: there is no key in it.", "", "Write a key, 16 bytes or more, on a line.")
        return cls(*keys)

    def footer(self, datagram: bytes | bytearray | memoryview, now_ns: int) -> bytes:
        """What is to be sent behind `datagram`, `FOOTER` bytes."""
        said = self._id + now_ns.to_bytes(8, "big")
        return said + _mac(self._key, datagram, said) + MAGIC

    def fault(self, signed: bytes | bytearray | memoryview, now_ns: int) -> str | None:
        """Why a datagram, footer included, is not to be believed; None where it is."""
        if not is_signed(signed):
            return UNSIGNED
        body, footer = signed[:-FOOTER], bytes(signed[-FOOTER:])
        key = self._by_id.get(footer[:_ID])
        if key is None:
            return UNKNOWN_KEY
        if not hmac.compare_digest(_mac(key, body, footer[: _ID + 8]), footer[_ID + 8 : -len(MAGIC)]):
            return WRONG
        sent_ns = int.from_bytes(footer[_ID : _ID + 8], "big")
        return None if abs(now_ns - sent_ns) <= WINDOW_S * 10**9 else OUT_OF_TIME


def is_signed(datagram: bytes | bytearray | memoryview) -> bool:
    """Whether a datagram ends as a footer does."""
    return len(datagram) > FOOTER and bytes(datagram[-len(MAGIC) :]) == MAGIC


def _mac(key: bytes, body: bytes | bytearray | memoryview, said: bytes) -> bytes:
    made = hmac.new(key, body, hashlib.sha256)
    made.update(said)
    return made.digest()[:_MAC]
