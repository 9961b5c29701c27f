"""tshark, which dissects a capture: each message in a packet of its own, in a pcap made here.

What it is not asked, and what it gets wrong, stands in `known_faults`. Source: Wireshark
epan/dissectors/packet-netlink.c and packet-netlink-sock_diag.c.
"""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from tempfile import NamedTemporaryFile
from typing import Final

from xtcp.chunk import NATIVE
from xtcp.encode.cells import AF_INET, STATE_NAMES, clean_text
from xtcp.netlink.numbers import NLMSG_HDRLEN, SOCK_DIAG_BY_FAMILY
from xtcp.sinks.capture_file import COOKED_HEADER, LINKTYPE_NETLINK, PCAP_NANOSECONDS, SNAPLEN
from xtcp_replay.judging.witnesses.programs import output_of
from xtcp_replay.judging.witnesses.testimony import Answer, Difference, Subject, WitnessFailed

_OURS: Final = "netlink-sock_diag."
# Its fields by our columns; those of IPv4 or IPv6 are there only for sockets of that family.
_SINGLE: Final = {
    "idiag_family": "family",
    "idiag_state": "state",
    "idiag_sport": "inet_sport",
    "idiag_dport": "inet_dport",
    "idiag_if": "inet_interface",
    "idiag_cookie": "cookie",
    "idiag_rqueue": "recv_queue",
    "idiag_wqueue": "send_queue",
    "idiag_inode": "inode",
}
_ADDRESSES: Final = {"idiag_src": "inet_src_ip", "idiag_dst": "inet_dest_ip"}
# In the order in which it reads them, by what they are to it; it names the members of both alike.
_MEMORY: Final = {
    1: {
        "idiag_rmem": "rmem_alloc",
        "idiag_wmem": "wmem_queued",
        "idiag_fmem": "fwd_alloc",
        "idiag_tmem": "wmem_alloc",
    },
    7: {
        "skmem_rmem_alloc": "rmem_alloc",
        "skmem_rcvbuf": "rcvbuf",
        "skmem_wmem_alloc": "wmem_alloc",
        "skmem_sndbuf": "sndbuf",
        "skmem_fwd_alloc": "fwd_alloc",
        "skmem_wmem_queued": "wmem_queued",
    },
}
# Attributes whose bytes are their value: a text, or a single byte.
_TEXT: Final = {4: "cong"}
_BYTE: Final = {5: "tos", 6: "tclass", 10: "protocol", 11: "skv6only"}
_SHUTDOWN: Final = 8
_INFO: Final = 2
_NUMBER, _LENGTH, _DATA = _OURS + "inet_attr", "netlink.attr_len", "netlink.attr_data"
_FIELDS: Final = (
    "frame.number",
    *(_OURS + name for name in _SINGLE.values()),
    *(_OURS + name + version for name in _ADDRESSES.values() for version in "46"),
    *(
        _OURS + name
        for name in ("rmem_alloc", "rcvbuf", "wmem_alloc", "sndbuf", "fwd_alloc", "wmem_queued", "shutdown")
    ),
    _NUMBER,
    _LENGTH,
    _DATA,
)
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")


def find() -> Tshark | None:
    """The witness, None where tshark is not installed. Raises `WitnessFailed` where it is, and does not work."""
    path = shutil.which("tshark")
    return None if path is None else Tshark(path)


def columns() -> frozenset[str]:
    """The columns that it reads, or whose bytes it gives where those are the value."""
    memory = {column for names in _MEMORY.values() for column in names}
    by_bytes = {*_TEXT.values(), *_BYTE.values()}
    return frozenset({*_SINGLE, *_ADDRESSES, *memory, *by_bytes, "shutdown", "tcp_info_len", "attributes"})


class Tshark:
    """A `Witness`."""

    name: Final = "tshark"
    reads_any_order: Final = True

    def __init__(self, path: str, timeout_s: float | None = None) -> None:
        self._path = path
        self._timeout_s = timeout_s
        said = output_of([path, "--version"], timeout_s=timeout_s)
        found = _VERSION.search(said)
        self.version = found[0] if found else said.strip()[:40]
        self.notes: Sequence[str] = ()

    def answers(self, subjects: Sequence[Subject]) -> Iterator[Answer]:
        """As `Witness` says."""
        asked = []
        for subject in subjects:
            if subject.unasked:
                yield Answer(subject, unasked=subject.unasked)
            else:
                asked.append(subject)
        if not asked:
            return
        packets = self._packets(asked)
        for number, subject in enumerate(asked, 1):
            packet = packets.get(str(number))
            if packet is None or not packet[_OURS + "family"]:
                yield Answer(subject, 1, [Difference("message", ("a socket",), "no socket")])
                continue
            try:
                said = _said(packet)
            except (ValueError, IndexError, KeyError) as error:
                raise WitnessFailed(f"it prints what nobody can read of packet {number}: {error!r}") from error
            row = subject.row
            found = [
                Difference(name, (str(row[name]),) if name in row else (), theirs)
                for name, theirs in said.items()
                if theirs != str(row.get(name))
            ]
            yield Answer(subject, len(said), found)

    def _packets(self, subjects: Sequence[Subject]) -> dict[str, dict[str, str]]:
        """The fields of each packet by its number. Raises `WitnessFailed`."""
        options = ["-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=;", "-E", "quote=n"]
        fields = [option for name in _FIELDS for option in ("-e", name)]
        with NamedTemporaryFile(suffix=".pcap") as capture:
            capture.write(struct.pack(NATIVE + "IHHiIII", PCAP_NANOSECONDS, 2, 4, 0, 0, SNAPLEN, LINKTYPE_NETLINK))
            for subject in subjects:
                packet = COOKED_HEADER + _as_answer(subject)
                capture.write(struct.pack(NATIVE + "IIII", 0, 0, len(packet), len(packet)) + packet)
            capture.flush()
            text = output_of(
                [self._path, "-n", "-r", capture.name, "-T", "fields", *options, *fields], timeout_s=self._timeout_s
            )
        packets = {}
        for line in text.splitlines():
            values = line.split("\t")
            if len(values) != len(_FIELDS):
                raise WitnessFailed(
                    f"it prints {len(values)} fields where {len(_FIELDS)} were asked for: {line[:80]!r}"
                )
            packets[values[0]] = dict(zip(_FIELDS, values, strict=True))
        return packets


def _as_answer(subject: Subject) -> bytes:
    """The message as tshark knows the answer to a request: of type SOCK_DIAG_BY_FAMILY, to a port id that is not 0."""
    _, port = struct.unpack_from(subject.order + "II", subject.message, 8)
    head = struct.pack(subject.order + "H", SOCK_DIAG_BY_FAMILY) + subject.message[6:12]
    return subject.message[:4] + head + struct.pack(subject.order + "I", port or 1) + subject.message[NLMSG_HDRLEN:]


def _said(packet: dict[str, str]) -> dict[str, str]:
    """What it says of a packet, by our columns, as text."""
    said = {column: packet[_OURS + name] for column, name in _SINGLE.items()}
    version = "4" if said["idiag_family"] == str(AF_INET) else "6"
    said |= {column: packet[_OURS + name + version] for column, name in _ADDRESSES.items()}
    said["idiag_state"] = STATE_NAMES[int(said["idiag_state"])]
    said["idiag_cookie"] = str(int(said["idiag_cookie"], 16))
    values = {name: iter(_list(packet[_OURS + name])) for name in _MEMORY[7].values()}
    data = iter(_list(packet[_DATA]))
    attributes = 0
    for number, length in zip(map(int, _list(packet[_NUMBER])), map(int, _list(packet[_LENGTH])), strict=True):
        if number < 64:
            attributes |= 1 << number
        if number in _MEMORY:
            for column, name in _MEMORY[number].items():
                said[column] = next(values[name])
            continue
        payload = next(data) if length > 4 else ""
        if number == _SHUTDOWN:
            said["shutdown"] = str(int(packet[_OURS + "shutdown"], 16))
        elif number == _INFO:
            said["tcp_info_len"] = str(length - 4)
        elif number in _TEXT:
            said[_TEXT[number]] = clean_text(bytes.fromhex(payload.replace(":", "")).split(b"\0")[0])
        elif number in _BYTE:
            said[_BYTE[number]] = str(int(payload, 16))
    said["attributes"] = str(attributes)
    return said


def _list(text: str) -> list[str]:
    return text.split(";") if text else []
