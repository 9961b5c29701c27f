"""The layers among scapy's own: link type 253 read and written by scapy's readers, without `scapy.all`."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import ENVIRONMENT
from tests.layers.columns import OWN, packets_of
from tests.patience import patient

layers = import_module("xtcp_replay.layers")

NL = layers.of(">")


def test_importing_them_is_quick_and_not_scapy_all() -> None:
    """What registers the link type loads none of scapy's hundred protocols; `--help` loads no scapy at all."""
    script = (
        "import sys\n"
        "from xtcp_replay.cli.main import parser\n"
        "parser().format_help()\n"
        "assert 'scapy' not in sys.modules\n"
        "import xtcp_replay.layers\n"
        "from scapy.config import conf\n"
        "assert 'scapy.all' not in sys.modules and 'scapy.layers.all' not in sys.modules\n"
        "assert 'scapy.layers.inet' not in sys.modules\n"
        "cls = conf.l2types.num2layer[253]\n"
        "assert conf.l2types.layer2num[cls] == 253\n"
        "print(cls.__name__)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=patient(20), check=False)
    assert (done.stdout, done.returncode) == ("CookedNetlink\n", 0), done.stderr


@pytest.mark.parametrize("path", OWN, ids=lambda p: p.parent.name)
def test_rdpcap_dissects(path: Path) -> None:
    """scapy's own reader gives the layers; states and ports are there by the kernel's names."""
    from scapy.utils import rdpcap

    packets = rdpcap(str(path))
    assert [bytes(p) for p in packets] == [p.data for p in packets_of(path)]
    states = {m.idiag_state for p in packets for m in p.payload.messages if "idiag_state" in m.payload.fields}
    assert {1, 6, 10} <= states
    assert any(m.nlmsg_type == 3 and m.payload.error == 0 for p in packets for m in p.payload.messages)


def test_pcapwriter_writes_the_link_type(tmp_path: Path) -> None:
    """A packet made here, written and read by scapy, is the same packet."""
    from scapy.utils import PcapWriter, rdpcap

    packet = layers.CookedNetlink() / NL.datagram(messages=[NL.nlmsghdr() / NL.inet_diag_msg(idiag_cookie=5)])
    path = tmp_path / "made.pcap"
    with PcapWriter(str(path)) as writer:
        writer.write(packet)
    assert int.from_bytes(path.read_bytes()[20:24], sys.byteorder) == 253
    (read,) = rdpcap(str(path))
    assert bytes(read) == bytes(packet)
    assert read.payload.messages[0].idiag_cookie == 5


def test_the_header_finds_the_order() -> None:
    """The cooked header is in network order always; its messages in that of the host which sent them."""
    for order in ("<", ">"):
        nl = layers.of(order)
        packet = layers.CookedNetlink() / nl.datagram(messages=[nl.nlmsghdr(nlmsg_seq=7) / nl.NLMSG_DONE()])
        assert layers.CookedNetlink(bytes(packet)).payload.messages[0].nlmsg_seq == 7
        assert bytes(packet)[:4] == b"\0\4\3\x38"
    route = layers.CookedNetlink(bytes(layers.CookedNetlink(sll_protocol=0)) + bytes(32))
    assert type(route.payload).__name__ == "Raw"
    assert bytes(layers.dissect(b"")) == b"" and bytes(layers.dissect(b"\0\4\3")) == b"\0\4\3"


def test_scapy_shows_and_copies_them() -> None:
    """`show`, `summary`, `repr`, `copy`, `command` of scapy work on them."""
    row: Any = NL.nlmsghdr() / NL.inet_diag_msg(idiag_state=1, idiag_src="::1", idiag_family=10, attributes=[])
    text = (layers.CookedNetlink() / NL.datagram(messages=[row])).show(dump=True)
    assert "ESTAB" in text and "::1" in text and "NLM_F_MULTI" in text
    assert row.copy() == row and "nlmsghdr" in row.summary() and "ESTAB" in repr(row)
