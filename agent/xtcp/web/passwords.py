"""Passwords of basic authentication against bcrypt hashes, as exporter-toolkit checks them.

1. An unknown user costs what a known one costs: a hash that is nobody's is checked instead.
2. Answers are remembered by a keyed digest of user, hash and password, so a scraper pays for bcrypt once; another hash
   is another answer.
3. bcrypt runs on a thread of its own, one check at a time and with a pause behind it, so guessing takes a quarter of
   a CPU at most; when too many wait, the next is refused unchecked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from xtcp.errors import ConfigurationError

_MOST_REMEMBERED: Final = 64
_MOST_WAITING: Final = 8
# The pause after a check, in durations of the check.
_PAUSES: Final = 3
# bcrypt looks at no more, and newer versions refuse more.
_LONGEST: Final = 72


class TooManyWaiting(Exception):
    """More checks wait than may."""


class Passwords:
    """Users and their hashes; `allows` is called on the event loop. With users, raises `ConfigurationError` without
    bcrypt, which not every machine has.
    """

    def __init__(self, users: Mapping[str, bytes]) -> None:
        self._users = dict(users)
        self._thread: ThreadPoolExecutor | None = None
        if not self._users:
            return
        try:
            import bcrypt
        except ImportError as error:
            raise ConfigurationError(
                "Users with passwords need bcrypt, which is not installed.", "", "pip install 'xtcp[prometheus]'"
            ) from error
        self._check = bcrypt.checkpw
        rounds = max(int(hashed[4:6]) for hashed in self._users.values())
        # A salt and a digest of nothing in particular: no password is known to give it.
        self._nobody = bcrypt.gensalt(rounds) + secrets.token_hex(16)[:31].encode()
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, bool] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "web passwords")
        self._waiting = 0

    async def allows(self, authorization: str) -> bool:
        """Whether the value of an Authorization header is that of a user. Raises `TooManyWaiting`."""
        if self._thread is None:
            return True
        user, password = _credentials(authorization)
        hashed = self._users.get(user, self._nobody)
        key = self._digest(user, hashed, password)
        known = self._remembered.get(key)
        if known is not None:
            self._remembered.move_to_end(key)
            return known
        if self._waiting >= _MOST_WAITING:
            raise TooManyWaiting
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(self._thread, self._verify, password, hashed)
        finally:
            self._waiting -= 1
        allowed = right and user in self._users
        self._remembered[key] = allowed
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return allowed

    def close(self) -> None:
        """Ends the thread, without waiting for what it does."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _digest(self, user: str, hashed: bytes, password: bytes) -> bytes:
        parts = (user.encode("utf-8", "surrogatepass"), hashed, password)
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._key, text, hashlib.sha256).digest()

    def _verify(self, password: bytes, hashed: bytes) -> bool:
        began = time.monotonic()
        try:
            right: bool = self._check(password[:_LONGEST], hashed)
        except ValueError:
            # A NUL in it, which is in nobody's password.
            right = False
        if not right:
            time.sleep(_PAUSES * (time.monotonic() - began))
        return right


def _credentials(authorization: str) -> tuple[str, bytes]:
    """User and password; what is no basic authentication is a user that does not exist."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", b""
    try:
        user, _, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except (ValueError, binascii.Error):
        return "", b""
    return user.decode("utf-8", "surrogateescape"), password
