"""pyroute2's decoder of sock_diag messages, in this process: no socket is opened.

It reads its host's byte order. What it is not asked, and what it gets wrong, stands in `known_faults`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any, Final

from xtcp.encode.cells import STATE_NAMES
from xtcp.netlink.numbers import NLA_TYPE_MASK
from xtcp.schema.inet_diag import ATTRIBUTES, INET_DIAG_MSG, IPPROTO_TCP
from xtcp.schema.layout import members, size_of
from xtcp.schema.model import Struct
from xtcp.schema.tcp_info import TCP_INFO
from xtcp_replay.judging.known_faults import NOT_READ, PYROUTE2_INFO
from xtcp_replay.judging.witnesses.testimony import Answer, Difference, Subject, WitnessFailed

_ONE_BYTE: Final = {"INET_DIAG_TOS": "tos", "INET_DIAG_TCLASS": "tclass", "INET_DIAG_PROTOCOL": "protocol"}
_PLAIN: Final = {
    "INET_DIAG_CONG": "cong",
    "INET_DIAG_SHUTDOWN": "shutdown",
    "INET_DIAG_SKV6ONLY": "skv6only",
    "INET_DIAG_CLASS_ID": "class_id",
    "INET_DIAG_CGROUP_ID": "cgroup_id",
}
_STRUCTS: Final = frozenset({
    "INET_DIAG_MEMINFO", "INET_DIAG_INFO", "INET_DIAG_VEGASINFO", "INET_DIAG_DCTCPINFO", "INET_DIAG_BBRINFO",
})  # fmt: skip
_NOT_JUDGED: Final = frozenset({"tcpi_fastopen_client_fail", "tcpi_snd_wscale", "tcpi_rcv_wscale"})


def find() -> Pyroute2 | None:
    """The witness, None where pyroute2 is not installed."""
    if importlib.util.find_spec("pyroute2") is None:
        return None
    return Pyroute2()


def columns() -> frozenset[str]:
    """The columns that it judges: of every struct all members, of tcp_info those that it knows and reads right."""
    found = {member.column for member in members(INET_DIAG_MSG, "<", None)} | {"attributes"}
    for attribute in ATTRIBUTES:
        if attribute.name in _STRUCTS and isinstance(attribute.body, Struct):
            known = PYROUTE2_INFO if attribute.body is TCP_INFO else size_of(attribute.body)
            found |= {member.column for member in members(attribute.body, "<", None) if member.end <= known}
    return frozenset(found | {*_PLAIN.values(), *_ONE_BYTE.values()}) - _NOT_JUDGED


class Pyroute2:
    """A `Witness`."""

    name: Final = "pyroute2"
    reads_any_order: Final = False

    def __init__(self) -> None:
        self.version = importlib.metadata.version("pyroute2")
        try:
            from pyroute2.netlink import diag
        except ImportError as error:
            raise WitnessFailed(f"it cannot be imported: {error}") from error
        self._message = diag.inet_diag_msg
        self._numbers = {name: number for number, (name, _) in enumerate(self._message.nla_map)}
        # Older releases do not know some attributes, and give others as the text of their bytes.
        known = dict(self._message.nla_map)
        self._raw = {name for name in _PLAIN if known.get(name, "hex") == "hex"}
        self.notes: Sequence[str] = [f"this pyroute2 does not decode {name}" for name in sorted(self._raw)]

    def answers(self, subjects: Sequence[Subject]) -> Iterator[Answer]:
        """As `Witness` says; an exception of pyroute2 is a difference of the field "message"."""
        for subject in subjects:
            if subject.unasked:
                yield Answer(subject, unasked=subject.unasked)
                continue
            try:
                said = self.said(subject)
            except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
                yield Answer(subject, 1, [Difference("message", ("a socket",), f"{type(error).__name__}: {error}")])
                continue
            found = [
                Difference(name, () if ours is None else (str(ours),), str(theirs))
                for name, theirs in said.items()
                if (ours := _ours(subject, name)) != theirs
            ]
            yield Answer(subject, len(said), found)

    def said(self, subject: Subject) -> dict[str, object]:
        """What it makes of a message, by our column names."""
        message = self._message(subject.native())
        message.decode()
        said: dict[str, object] = {name: message[name] for name, *_ in self._message.fields}
        said["idiag_state"] = STATE_NAMES[message["idiag_state"]]
        attributes = 0
        for name, payload in message["attrs"]:
            number = payload["header"]["type"] & NLA_TYPE_MASK if name == "UNKNOWN" else self._numbers[name]
            if number < 64:
                attributes |= 1 << number
            if name not in self._raw and (name != "INET_DIAG_INFO" or subject.protocol == IPPROTO_TCP):
                said.update(_columns(name, payload))
        said["attributes"] = attributes
        return said


def _ours(subject: Subject, name: str) -> object:
    if name == "INET_DIAG_INFO":
        return f"{subject.row['tcp_info_len']} bytes"
    return subject.row.get(name)


def _columns(name: str, payload: Any) -> dict[str, object]:
    """The columns of one attribute."""
    if name in _PLAIN:
        return {_PLAIN[name]: payload}
    if name in _ONE_BYTE:
        return {_ONE_BYTE[name]: int(payload, 16)}
    if name not in _STRUCTS:
        return {}
    if isinstance(payload, bytes):
        return {name: NOT_READ}
    said: dict[str, object] = {member: payload[member] for member, *_ in payload.fields}
    if name == "INET_DIAG_INFO":
        said["tcpi_rcv_wscale"] = payload["tcpi_rcv_wscale"]
    if name == "INET_DIAG_BBRINFO":
        said["bbr_bw"] = said.pop("bbr_bw_hi") << 32 | said.pop("bbr_bw_lo")  # type: ignore[operator]
    return said
