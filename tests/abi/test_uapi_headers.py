"""Every struct, bit field and number of the schema table against the UAPI headers, on three architectures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.abi.compiled import Answers, NotInstalledError, ask, find_compiler
from tests.abi.table import STRUCTS, Release, Row, enumerators, netlink_numbers, rows_of
from xtcp.netlink import numbers
from xtcp.schema.inet_diag import INET_DIAG_MSG, NLMSGHDR
from xtcp.schema.layout import Member, members, size_of
from xtcp.schema.model import Order, Struct
from xtcp.schema.tcp_info import TCP_INFO

pytestmark = pytest.mark.abi


@dataclass(frozen=True)
class Machine:
    """An architecture, its byte order, and the Debian packages that bring its compiler and headers."""

    name: str
    order: Order
    packages: str


MACHINES: Final = (
    Machine("x86_64", "<", "gcc libc6-dev linux-libc-dev"),
    Machine("s390x", ">", "gcc-s390x-linux-gnu libc6-dev-s390x-cross linux-libc-dev-s390x-cross"),
    Machine("powerpc64", ">", "gcc-powerpc64-linux-gnu libc6-dev-ppc64-cross linux-libc-dev-ppc64-cross"),
)

HEADERS: Final = ("netlink", "sock_diag", "inet_diag", "tcp", "mptcp", "tls", "bpf", "version")

# The end of struct tcp_info behind what 6.1 has of it, as 6.18 and as 7.0 declare it: few headers are that new.
_SINCE_6_2: Final = """
    __u32 tcpi_rcv_wnd; __u32 tcpi_rehash;
    __u16 tcpi_total_rto; __u16 tcpi_total_rto_recoveries; __u32 tcpi_total_rto_time;
    __u32 tcpi_received_ce;
    __u32 tcpi_delivered_e1_bytes; __u32 tcpi_delivered_e0_bytes; __u32 tcpi_delivered_ce_bytes;
    __u32 tcpi_received_e1_bytes; __u32 tcpi_received_e0_bytes; __u32 tcpi_received_ce_bytes;
"""
TAILS: Final[dict[str, tuple[Release, str]]] = {
    "tail_6_18": ((6, 18), _SINCE_6_2 + "__u16 tcpi_accecn_fail_mode; __u16 tcpi_accecn_opt_seen;"),
    "tail_7_0": (
        (7, 0),
        _SINCE_6_2 + "__u32 tcpi_ecn_mode:2, tcpi_accecn_opt_seen:2, tcpi_accecn_fail_mode:4, tcpi_options2:24;",
    ),
}
BEFORE_TAIL: Final = 232

PREAMBLE: Final = "\n".join(
    (
        "#include <stddef.h>",
        *(f"#include <linux/{name}.h>" for name in HEADERS),
        *(f"struct {name} {{ __u64 before[{BEFORE_TAIL // 8}]; {text} }};" for name, (_, text) in TAILS.items()),
    )
)


@dataclass(frozen=True)
class Headers:
    """The answers of one architecture's compiler, and the release of its headers."""

    order: Order
    release: Release
    answers: Answers


def _offset(struct: str, path: str) -> str:
    return f"offsetof(struct {struct}, {path})"


def _size(struct: str, path: str) -> str:
    return f"sizeof(((struct {struct} *)0)->{path})"


def _tail_members(release: Release, order: Order) -> tuple[Member, ...]:
    return tuple(member for member in members(TCP_INFO, order, release) if member.offset >= BEFORE_TAIL)


def _expressions() -> Iterator[str]:
    yield from ("__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__", "LINUX_VERSION_CODE")
    for struct in STRUCTS:
        yield from (f"sizeof(struct {struct.name})", f"__alignof__(struct {struct.name})")
        for row in rows_of(struct):
            for path in () if row.bit_field else row.paths:
                yield from (_offset(struct.name, path), _size(struct.name, path))
    for name, (release, _) in TAILS.items():
        yield f"sizeof(struct {name})"
        for member in _tail_members(release, "<"):
            if member.mask is None:
                yield from (_offset(name, member.column), _size(name, member.column))
    yield from (constant.name for constant in (*enumerators("BPF_TCP_"), *netlink_numbers()))


def _bit_fields() -> Iterator[tuple[str, str]]:
    for struct in STRUCTS:
        yield from ((struct.name, row.paths[0]) for row in rows_of(struct) if row.bit_field)
    for name, (release, _) in TAILS.items():
        yield from ((name, member.column) for member in _tail_members(release, "<") if member.mask is not None)


@pytest.fixture(scope="module", params=MACHINES, ids=lambda machine: machine.name)
def headers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Headers:
    """All questions of this module put to one architecture's compiler, at once."""
    machine: Machine = request.param
    work = tmp_path_factory.mktemp(machine.name)
    try:
        compiler = find_compiler(machine.name)
        answers = ask(compiler, machine.order, PREAMBLE, tuple(_expressions()), tuple(_bit_fields()), work)
    except NotInstalledError as missing:
        pytest.skip(f"{missing}: apt-get install {machine.packages}")
    version = answers.numbers["LINUX_VERSION_CODE"]
    return Headers(machine.order, (version >> 16, version >> 8 & 0xFF), answers)


def _known(headers: Headers, row: Row) -> bool:
    if row.bit_field:
        return (row.struct.name, row.paths[0]) in headers.answers.ones
    return _offset(row.struct.name, row.paths[0]) in headers.answers.numbers


def _disagreements(headers: Headers, struct: str, paths: tuple[str, ...], member: Member) -> Iterator[str]:
    """How the compiler's place of the C member(s) `paths` differs from the table's `member`."""
    said = headers.answers
    if member.mask is None:
        sizes = [said.numbers[_size(struct, path)] for path in paths]
        starts = [said.numbers[_offset(struct, path)] for path in paths]
        ours = member.offset, member.end, member.wire.itemsize
        theirs = starts[0], starts[-1] + sizes[-1], sum(sizes)
        if ours != theirs:
            yield f"{struct}.{member.column}: offset, end, size {ours} here, {theirs} in the header"
        return
    ones = said.ones[struct, paths[0]]
    held, rest = ones[member.offset : member.end], ones[: member.offset] + ones[member.end :]
    mask = member.mask << member.shift
    if int.from_bytes(held, "little" if headers.order == "<" else "big") != mask or any(rest):
        yield f"{struct}.{member.column}: mask {mask:#x} at byte {member.offset} here, bytes {held.hex()} in the header"


def _misdated(names: Iterable[tuple[str, Release, bool]], release: Release) -> list[str]:
    """Of (name, since, known): those that headers of `release` lack though not newer, or have though newer."""
    dates: dict[str, Release] = {}
    known: set[str] = set()
    for name, since, is_known in names:
        dates[name] = since
        if is_known:
            known.add(name)
    return [
        f"{name}: dated {since}, {'known' if name in known else 'not known'} to headers of {release}"
        for name, since in dates.items()
        if (name in known) == (since > release)
    ]


def test_byte_order(headers: Headers) -> None:
    """The compiler's byte order is the one its architecture is listed with, so that both are covered."""
    assert headers.answers.numbers["__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__"] == (headers.order == "<")


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.name)
def test_absent_members_are_the_newer_ones(headers: Headers, struct: Struct) -> None:
    """The members that the headers lack are exactly those that the table dates after the headers' release."""
    rows = ((row.column, row.since, _known(headers, row)) for row in rows_of(struct))
    wrong = _misdated(rows, headers.release)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.name)
def test_members_lie_where_the_compiler_puts_them(headers: Headers, struct: Struct) -> None:
    """Offset, size and bit mask of every member that the headers have."""
    known = {(row.column, row.bit_field): row.paths for row in rows_of(struct) if _known(headers, row)}
    compared = [
        (known[key], member)
        for member in members(struct, headers.order, headers.release)
        if (key := (member.column, member.mask is not None)) in known
    ]
    assert len(compared) == len(known)
    wrong = [text for paths, member in compared for text in _disagreements(headers, struct.name, paths, member)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.name)
def test_struct_sizes(headers: Headers, struct: Struct) -> None:
    """`sizeof` is the end of the last member that the headers have, rounded up to the struct's alignment."""
    known = {row.column for row in rows_of(struct) if _known(headers, row)}
    end = max(m.end for m in members(struct, headers.order, headers.release) if m.column in known)
    alignment = headers.answers.numbers[f"__alignof__(struct {struct.name})"]
    assert headers.answers.numbers[f"sizeof(struct {struct.name})"] == -(-end // alignment) * alignment


@pytest.mark.parametrize("name", TAILS)
def test_tails_of_tcp_info_written_out(headers: Headers, name: str) -> None:
    """tcp_info's end, its last four bytes in both layouts, also where no header is new enough to have it."""
    release, _ = TAILS[name]
    tail = _tail_members(release, headers.order)
    wrong = [text for member in tail for text in _disagreements(headers, name, (member.column,), member)]
    assert len(tail) == (14 if release < (7, 0) else 16) and not wrong, "\n".join(wrong)
    assert headers.answers.numbers[f"sizeof(struct {name})"] == size_of(TCP_INFO, release) == 280


def test_constants(headers: Headers) -> None:
    """Attribute numbers of all nests, states, orders and netlink's own constants are the headers'."""
    constants = (*enumerators("BPF_TCP_"), *netlink_numbers())
    said = headers.answers.numbers
    wrong = _misdated(((c.name, c.since, c.name in said) for c in constants), headers.release)
    wrong += [
        f"{constant.name}: {constant.number} here, {said[constant.name]} in the header"
        for constant in constants
        if constant.name in said and said[constant.name] != constant.number
    ]
    assert not wrong, "\n".join(wrong)


def test_lengths_of_headers(headers: Headers) -> None:
    """The lengths that the decoder adds up are the sizes of the structs."""
    said = headers.answers.numbers
    assert numbers.NLMSG_HDRLEN == size_of(NLMSGHDR) == said["sizeof(struct nlmsghdr)"]
    assert numbers.INET_DIAG_MSG_LEN == size_of(INET_DIAG_MSG) == said["sizeof(struct inet_diag_msg)"]
