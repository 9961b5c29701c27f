"""What an errno of a far side means to a person, and the word it is counted by."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from xtcp.errors import PermissionMissing, Temporary, Unavailable, XtcpError

# The reason of a drop where the name of a far side has no address.
RESOLVE: Final = "resolve"

_LISTENS: Final = (Unavailable, "Nobody listens there.", "Start the receiver, or check the address.")
_WAY: Final = (
    Unavailable,
    "There is no way there from this host.",
    "Check its routes: ip route get ADDRESS.",
)
_FORBIDDEN: Final = (PermissionMissing, "Usually a rule of this host's firewall forbids it, or a file permission.",
                     "Allow it: nft list ruleset shows the rules.")  # fmt: skip
_SLOW: Final = (Temporary, "The receiver takes rows more slowly than they come.", "Send it fewer: sample=N.")
_MEANINGS: Final[dict[int, tuple[type[XtcpError], str, str]]] = {
    errno.ECONNREFUSED: _LISTENS,
    errno.ENOENT: (Unavailable, "Nobody has made that socket.", "Start the receiver, or check the path."),
    errno.ENETUNREACH: _WAY,
    errno.EHOSTUNREACH: _WAY,
    errno.ENETDOWN: _WAY,
    errno.EADDRNOTAVAIL: _WAY,
    errno.EPERM: _FORBIDDEN,
    errno.EACCES: _FORBIDDEN,
    errno.EAGAIN: _SLOW,
    errno.ETIMEDOUT: _SLOW,
    errno.ENOBUFS: (Temporary, "The network device's queue is full.", "Send more slowly: rate=ROWS."),
    errno.EPIPE: (Temporary, "The receiver has closed the connection.", ""),
    errno.ECONNRESET: (Temporary, "The receiver has closed the connection.", ""),
    errno.EMSGSIZE: (Unavailable, "A datagram is larger than the way there takes.", "Send smaller ones: mtu=BYTES."),
}


def reason(code: int | None) -> str:
    """The word that a drop is counted by: the errno's name."""
    return errno.errorcode.get(code or 0, "EIO")


def refusal(name: str, error: OSError) -> XtcpError:
    """`error`, of the destination `name`, as people read it; `socket.gaierror` too."""
    code = error.errno or 0
    if isinstance(error, socket.gaierror):
        return Unavailable(f"{name}: {error.strerror}.", "Its name has no address now.", "It is asked for again.")
    kind, why, to_do = _MEANINGS.get(code, (Temporary, "", ""))
    return kind(f"{name}: {reason(code)} ({os.strerror(code)}).", why, to_do)
