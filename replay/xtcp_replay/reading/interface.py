"""Interface: what a capture says about where its packets were seen; and the one link type that is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from xtcp.errors import DamagedInput
from xtcp.sinks.capture_file import Section

LINKTYPE_NETLINK: Final = 253
NOTHING_SAID: Final = Section()

# Of https://www.tcpdump.org/linktypes.html those that a capture made by mistake has.
_LINK_TYPES: Final = {
    0: "NULL (BSD loopback)",
    1: "ETHERNET",
    12: "RAW",
    101: "RAW (IP packets)",
    105: "IEEE802_11",
    113: "LINUX_SLL",
    127: "IEEE802_11_RADIOTAP",
    147: "USER0",
    189: "USB_LINUX",
    220: "USB_LINUX_MMAPPED",
    228: "IPV4",
    229: "IPV6",
    239: "NFLOG",
    276: "LINUX_SLL2",
}

HOW_TO_CAPTURE: Final = (
    "Capture netlink as root: modprobe nlmon; ip link add nlmon0 type nlmon; ip link set nlmon0 up; "
    "tcpdump -i nlmon0 -s 0 -w FILE.pcap, and run ss -tinmae meanwhile."
)


@dataclass(frozen=True)
class Interface:
    """`number` counts the interfaces of a file over all its sections. Packet times are in `ticks_per_s`, `offset_s`
    is added to them.

    `release` is the `uname -r` of the host (empty: not told), `hostname` and `netns` None where not told. `name` and,
    of its section, `section_number` and `section` are as a pcapng says them.
    """

    number: int
    link_type: int
    ticks_per_s: int = 1_000_000
    offset_s: int = 0
    release: str = ""
    hostname: str | None = None
    netns: str | None = None
    name: str = ""
    section_number: int = 0
    section: Section = NOTHING_SAID


def link_type_name(number: int) -> str:
    """As people know it: `1 (ETHERNET)`."""
    name = _LINK_TYPES.get(number)
    return f"{number} ({name})" if name else str(number)


def wrong_link_type(name: str, number: int) -> DamagedInput:
    """The refusal of a capture of something else than netlink."""
    return DamagedInput(
        f"{name} is a capture of link type {link_type_name(number)}, not {LINKTYPE_NETLINK} (NETLINK).",
        "Usually it was taken on a network interface; sock_diag messages pass only on a netlink monitor.",
        HOW_TO_CAPTURE,
    )
