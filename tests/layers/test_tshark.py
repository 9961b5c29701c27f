"""A witness: tshark's netlink dissector on the same captures, for what it knows of sock_diag."""

from __future__ import annotations

import socket
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import require_program
from tests.layers.columns import OWN, messages_of, packets_of
from tests.patience import patient

layers = import_module("xtcp_replay.layers")

# tshark's fields by ours.
HEADER = {
    "nlmsg_len": "netlink.hdr_len",
    "nlmsg_flags": "netlink.hdr_flags",
    "nlmsg_seq": "netlink.hdr_seq",
    "nlmsg_pid": "netlink.hdr_pid",
}
BODY = {
    "idiag_family": "netlink-sock_diag.family",
    "idiag_state": "netlink-sock_diag.state",
    "idiag_sport": "netlink-sock_diag.inet_sport",
    "idiag_dport": "netlink-sock_diag.inet_dport",
    "idiag_if": "netlink-sock_diag.inet_interface",
}
ADDRESSES = {
    (2, "idiag_src"): "netlink-sock_diag.inet_src_ip4",
    (2, "idiag_dst"): "netlink-sock_diag.inet_dest_ip4",
    (10, "idiag_src"): "netlink-sock_diag.inet_src_ip6",
    (10, "idiag_dst"): "netlink-sock_diag.inet_dest_ip6",
}
PACKETS = 6


def said_by_tshark(path: Path) -> list[dict[str, list[str]]]:
    """Field to its values in each of the first packets."""
    program = require_program("tshark", "tshark")
    fields = [*HEADER.values(), *BODY.values(), *ADDRESSES.values()]
    options = [option for field in fields for option in ("-e", field)]
    command = [program, "-n", "-r", str(path), "-c", str(PACKETS), "-T", "fields", "-E", "separator=;", *options]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(60)).stdout
    return [
        dict(zip(fields, (cell.split(",") if cell else [] for cell in line.split(";")), strict=True))
        for line in text.splitlines()
    ]


def as_text(family: int, address: bytes) -> str:
    """An address as tshark writes it."""
    return socket.inet_ntop(socket.AF_INET if family == 2 else socket.AF_INET6, address[: 4 if family == 2 else 16])


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.parent.name)
def test_headers_states_ports_and_addresses(path: Path) -> None:
    """The same numbers in the same order, packet by packet, in both byte orders."""
    compared = 0
    for said, packet in zip(said_by_tshark(path), packets_of(path), strict=False):
        messages = messages_of(layers.dissect(packet.data))
        # It writes the flags of a request twice, once for each way to read their upper byte.
        said[HEADER["nlmsg_flags"]] = said[HEADER["nlmsg_flags"]][: len(messages)]
        for ours, theirs in HEADER.items():
            assert [int(value, 0) for value in said[theirs]] == [getattr(m, ours) for m in messages], ours
        rows = [m.payload for m in messages if type(m.payload).__name__ == "inet_diag_msg"]
        if not rows:
            continue
        for ours, theirs in BODY.items():
            assert [int(value, 0) for value in said[theirs]] == [getattr(row, ours) for row in rows], ours
        for (family, ours), theirs in ADDRESSES.items():
            addresses = [as_text(family, getattr(row, ours)) for row in rows if row.idiag_family == family]
            assert said[theirs] == addresses, ours
        compared += len(rows)
    assert compared > 10
