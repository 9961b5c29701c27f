"""Every error that a person can meet, and the exit code it ends a command with.

    XtcpError                 70  internal: a fault of this program
    ├── UsageError             2  an option or a name that does not exist
    ├── DamagedInput           3  a file that is cut, damaged or something else
    ├── Unavailable           69  the kernel has no tcp_diag, the far side is not there
    ├── Temporary             75  the same command may work in a moment
    ├── PermissionMissing     77  a capability or a file permission is missing
    └── ConfigurationError    78  this machine or its configuration does not fit

A message has three parts: what happened, why usually, what to do. `KernelRefused` is any of these, by errno.
"""

from __future__ import annotations

import errno
import os
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with; 2 and above 63 as in sysexits.h and by convention."""

    OK = 0
    FINDING = 1
    USAGE = 2
    DAMAGED = 3
    UNAVAILABLE = 69
    INTERNAL = 70
    TEMPORARY = 75
    PERMISSION = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


class XtcpError(Exception):
    """Base of all; `what` happened, `why` usually, what `to_do`."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, what: str, why: str = "", to_do: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.to_do = what, why, to_do

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.to_do) if part)


class UsageError(XtcpError):
    """An option, column, state or attribute that does not exist."""

    exit_code = ExitCode.USAGE


class DamagedInput(XtcpError):
    """Input that is cut, damaged, empty or not what it should be."""

    exit_code = ExitCode.DAMAGED


class Unavailable(XtcpError):
    """The kernel or another program cannot serve the request."""

    exit_code = ExitCode.UNAVAILABLE


class Temporary(XtcpError):
    """Something ran out that will be there again."""

    exit_code = ExitCode.TEMPORARY


class PermissionMissing(XtcpError):
    """A capability or a file permission is missing."""

    exit_code = ExitCode.PERMISSION


class ConfigurationError(XtcpError):
    """This machine does not fit what was asked."""

    exit_code = ExitCode.CONFIGURATION


_MODPROBE = "Load the module (as root: modprobe {module}), or use a kernel with {option}."
_OPTIONS = {"tcp_diag": "CONFIG_INET_TCP_DIAG", "mptcp_diag": "CONFIG_INET_MPTCP_DIAG"}
_REFUSALS: dict[int, tuple[type[XtcpError], str, str]] = {
    errno.ENOENT: (Unavailable, "Usually the kernel lacks the module {module}.", _MODPROBE),
    errno.EPROTONOSUPPORT: (Unavailable, "Usually the kernel lacks the modules inet_diag and {module}.", _MODPROBE),
    errno.EAFNOSUPPORT: (Unavailable, "Usually netlink is forbidden here, by seccomp or RestrictAddressFamilies.",
                         "Allow the address family AF_NETLINK."),
    errno.EPERM: (PermissionMissing, "Usually a capability is missing or seccomp forbids netlink.",
                  "See what this process may do: xtcp doctor."),
    errno.EACCES: (PermissionMissing, "Usually a capability is missing or seccomp forbids netlink.",
                   "See what this process may do: xtcp doctor."),
    errno.EBUSY: (Temporary, "Another dump runs on the same socket.", "Ask again on a new socket."),
    errno.ENOBUFS: (Temporary, "The kernel had no memory for the socket's buffer.", "Try again."),
    errno.ENOMEM: (Temporary, "The kernel had no memory for the reply.", "Try again."),
    errno.EMFILE: (Temporary, "This process has too many open files.", "Raise its limit: ulimit -n."),
    errno.ENFILE: (Temporary, "The host has too many open files.", "Raise fs.file-max."),
    errno.EINVAL: (XtcpError, "Usually this kernel does not know the request.",
                   "Please report it with xtcp doctor's output."),
}  # fmt: skip


class KernelRefused(XtcpError):
    """The kernel answered with an errno; its exit code is that of the class the errno belongs to.

    `module` is the one that serves the request: tcp_diag or mptcp_diag.
    """

    def __init__(self, request: str, code: int, text: str = "", module: str = "tcp_diag") -> None:
        kind, why, to_do = _REFUSALS.get(code, (XtcpError, "", ""))
        why, to_do = (sentence.format(module=module, option=_OPTIONS[module]) for sentence in (why, to_do))
        name = errno.errorcode.get(code)
        meaning = f"{name} ({os.strerror(code)})" if name else f"errno {code}"
        said = f": {text}" if text else ""
        super().__init__(f"{request}: the kernel says {meaning}{said}.", why, to_do)
        self.exit_code = kind.exit_code
        self.errno = code
