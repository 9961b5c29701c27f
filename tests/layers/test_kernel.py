"""The running kernel as the judge of requests built from layers: it checks a filter's every byte before it runs it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.patience import patient
from xtcp.chunk import NATIVE

layers = import_module("xtcp_replay.layers")

pytestmark = pytest.mark.live
NL = layers.of(NATIVE)


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a listener on 127.0.0.1."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def asked(request: Any, *, family: int = 4, ext_ack: bool = False) -> list[Any]:
    """The messages that the kernel answers with."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as netlink:
        netlink.settimeout(patient(5))
        if ext_ack:
            for option in (11, 12):  # NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK
                netlink.setsockopt(270, option, 1)
        netlink.send(bytes(request))
        answers: list[Any] = []
        while not answers or (answers[-1].nlmsg_flags & 2 and answers[-1].nlmsg_type != 3):
            data = netlink.recv(1 << 16)
            datagram = NL.datagram(data)
            assert bytes(datagram) == data and not datagram.rest
            answers += datagram.messages
    return answers


def request(*operations: Any) -> Any:
    """A dump of IPv4 listeners that pass a filter."""
    attributes = [NL.INET_DIAG_REQ_BYTECODE(bytecode=list(operations))]
    body = NL.inet_diag_req_v2(
        sdiag_family="inet", sdiag_protocol="IPPROTO_TCP", idiag_ext=2, idiag_states=1 << 10, attributes=attributes
    )
    return NL.nlmsghdr(nlmsg_seq=99) / body


def test_a_filter_is_run(listener: int) -> None:
    """Ports and a host condition choose the one listener; a range that it is not in does not."""
    host = NL.INET_DIAG_BC_S_COND(family="inet", prefix_len=8, port=0xFFFFFFFF, addr="127.0.0.0", no=36)
    low = NL.INET_DIAG_BC_S_GE(port=listener, no=20)
    high = NL.INET_DIAG_BC_S_LE(port=listener, no=12)
    *rows, done = asked(request(host, low, high))
    assert [row.idiag_sport for row in rows] == [listener]
    assert rows[0].payload.attributes and (done.nlmsg_type, done.payload.error) == (3, 0)
    below = NL.INET_DIAG_BC_S_LE(port=listener - 1, no=12)
    *rows, done = asked(request(low, below))
    assert done.nlmsg_type == 3
    assert listener not in [row.idiag_sport for row in rows]


def test_a_wrong_filter_is_refused(listener: int) -> None:
    """An operation that jumps nowhere: EINVAL, with the request inside, which is what was sent."""
    sent = request(NL.INET_DIAG_BC_S_GE(port=listener, no=3))
    (error,) = asked(sent)
    assert (type(error.payload).__name__, error.payload.error) == ("nlmsgerr", -22)
    inner = error.payload.msg
    operation = inner.payload.attributes[0].bytecode[0]
    assert (operation.port, operation.no) == (listener, 3)
    assert error.nlmsg_len == 16 + 4 + len(bytes(sent))


def test_what_the_kernel_says_beside_an_errno() -> None:
    """An extended acknowledgement in a NLMSG_DONE, of a family whose refusals have a text: NETLINK_ROUTE."""
    header_with_prefix = NL.nlmsghdr(nlmsg_type=22, nlmsg_flags=0x301, nlmsg_seq=1) / bytes((2, 1, 0, 0, 0, 0, 0, 0))
    (done,) = asked(header_with_prefix, family=0, ext_ack=True)
    assert (type(done.payload).__name__, done.payload.error) == ("NLMSG_DONE", -22)
    assert b"header" in done.payload.attributes[0].msg
