"""A second opinion: pyroute2's diag decoder on the same bytes, for the fields where it is right.

It is not asked for: SOCKOPT and the members of tcp_info behind tcpi_snd_wnd (it has none), the window scales and bits
beside them (it takes the low nibble for both), tcp_info shorter than 232 bytes (it raises), nests (raw in it). It
reads its host's byte order, so the dumps are written in it.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.dumps import Plan
from tests.encoder import Item, Layout, Row
from tests.equality import rows_of
from xtcp.chunk import NATIVE
from xtcp.decode.decoder import Decoder

diag = pytest.importorskip("pyroute2.netlink.diag", reason="the second opinion needs pyroute2")

NOT_ASKED = {"tcpi_snd_wscale", "tcpi_rcv_wscale", "tcpi_delivery_rate_app_limited"}
PAYLOADS = {
    "INET_DIAG_MEMINFO": None,
    "INET_DIAG_INFO": None,
    "INET_DIAG_VEGASINFO": None,
    "INET_DIAG_DCTCPINFO": None,
    "INET_DIAG_CONG": "cong",
    "INET_DIAG_SHUTDOWN": "shutdown",
    "INET_DIAG_SKV6ONLY": "skv6only",
    "INET_DIAG_CLASS_ID": "class_id",
    "INET_DIAG_CGROUP_ID": "cgroup_id",
}
LAYOUTS = (
    Layout((Item(1, 16), Item(2, 232), Item(4, 6), Item(7, 36), Item(8, 1), Item(17, 4), Item(21, 8))),
    Layout((Item(2, 280), Item(3, 16), Item(4, 4, text=b"bbr"), Item(16, 20), Item(21, 8))),
    Layout((Item(2, 248), Item(9, 16), Item(4, 6, text=b"dctcp"), Item(11, 1))),
    Layout(),
)


def fields_of(message: Any) -> Row:
    """What pyroute2 says of a message, by our names."""
    said: Row = {name: message[name] for name, *_ in diag.inet_diag_msg.fields if name.startswith("idiag")}
    family = said["idiag_family"]
    if family in (socket.AF_INET, socket.AF_INET6):
        for name in ("idiag_src", "idiag_dst"):
            said[name] = socket.inet_pton(int(family), str(said[name]))
    else:
        del said["idiag_src"], said["idiag_dst"]
    for name, payload in message["attrs"]:
        if name == "INET_DIAG_BBRINFO":
            said["bbr_bw"] = payload["bbr_bw_hi"] << 32 | payload["bbr_bw_lo"]
            said.update({n: payload[n] for n in ("bbr_min_rtt", "bbr_pacing_gain", "bbr_cwnd_gain")})
        elif name in PAYLOADS:
            column = PAYLOADS[name]
            if column is None:
                said.update({n: payload[n] for n, _ in payload.fields if n not in NOT_ASKED})
            else:
                said[column] = payload.encode() if isinstance(payload, str) else payload
    return said


def test_pyroute2_says_the_same() -> None:
    """Every field that it reads, of 256 rows of four layouts: more than 14,000 values, all equal."""
    dump = Plan(tuple((layout, 64) for layout in LAYOUTS), seed=2, done=False, cut_every=10_000).build(NATIVE)
    ours = rows_of(Decoder().decode(dump.chunk()))
    compared = 0
    for row, raw in zip(ours, dump.messages, strict=True):
        # Families that it does not know leave addresses as numbers.
        theirs = diag.inet_diag_msg(raw)
        theirs.decode()
        for name, value in fields_of(theirs).items():
            mine = row[name]
            if name in ("idiag_src", "idiag_dst") and isinstance(mine, bytes) and isinstance(value, bytes):
                mine = mine[: len(value)]
            assert mine == value, name
            compared += 1
    assert compared > 14_000
