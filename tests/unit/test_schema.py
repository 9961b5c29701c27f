"""Invariants of the schema table, and what is derived from it without NumPy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from xtcp.schema.columns import ALL_EXT, BY_NAME, COLUMNS, attribute_names, columns_needing, columns_of, ext_of
from xtcp.schema.inet_diag import (
    ATTRIBUTES,
    INET_DIAG_MSG,
    INET_DIAG_REQ,
    INET_DIAG_REQ_V2,
    INET_DIAG_SOCKOPT,
    IPPROTO_MPTCP,
    IPPROTO_TCP,
    NLMSGHDR,
    SK_MEMINFO,
    TCP_DIAG_MD5SIG,
    info_struct,
)
from xtcp.schema.layout import kernel_release, members, size_of
from xtcp.schema.model import U8, U16, U32, Attribute, Bits, Field, Nest, Struct, Tail
from xtcp.schema.mptcp_info import MPTCP_INFO
from xtcp.schema.tcp_info import TCP_BBR_INFO, TCP_DCTCP_INFO, TCP_INFO, TCPVEGAS_INFO

Release = tuple[int, int]

# Length of struct tcp_info, and the first release that has it.
TCP_INFO_LENGTHS: dict[int, Release] = {
    104: (2, 6),
    192: (4, 10),
    200: (4, 18),
    224: (4, 19),
    232: (5, 4),
    240: (6, 2),
    248: (6, 7),
    280: (6, 18),
}


def _release(since: str) -> Release:
    major, minor = since.split(".")
    return int(major), int(minor)


def _nested(attributes: tuple[Attribute, ...]) -> Iterator[Attribute]:
    for attribute in attributes:
        yield attribute
        if isinstance(attribute.body, Nest):
            yield from _nested(attribute.body.attributes)


def _structs() -> Iterator[Struct]:
    yield from (NLMSGHDR, INET_DIAG_MSG, INET_DIAG_REQ, INET_DIAG_REQ_V2, TCP_DIAG_MD5SIG, MPTCP_INFO)
    yield from (attribute.body for attribute in _nested(ATTRIBUTES) if isinstance(attribute.body, Struct))


def _fields() -> Iterator[Field]:
    for struct in _structs():
        yield from struct.fields
        for tail in struct.tails:
            yield from tail.fields
    yield from (attribute.body for attribute in _nested(ATTRIBUTES) if isinstance(attribute.body, Field))


def test_column_names_are_unique() -> None:
    """A name is one column, so that it can be a key in every output."""
    assert [name for name, count in Counter(column.name for column in COLUMNS).items() if count > 1] == []
    assert list(BY_NAME.values()) == list(COLUMNS)


def test_every_attribute_number_has_a_row() -> None:
    """The kernel's numbers 1 to 22, each once and in order; those that carry nothing as well."""
    assert [attribute.number for attribute in ATTRIBUTES] == list(range(1, 23))


def test_numbers_inside_nests_are_unique() -> None:
    """Inside a nest a number is one attribute, and they begin at 1 without gaps."""
    nests = [attribute.body for attribute in _nested(ATTRIBUTES) if isinstance(attribute.body, Nest)]
    assert len(nests) == 3
    for nest in nests:
        assert [attribute.number for attribute in nest.attributes] == list(range(1, len(nest.attributes) + 1))


def test_bit_fields_fill_their_holders() -> None:
    """Widths of a holder add up to it, so that shifts are right from both ends."""
    holders = [field for field in _fields() if field.bits]
    assert len(holders) == 5
    for holder in holders:
        assert sum(bits.width for bits in holder.bits) == 8 * holder.kind.size


@pytest.mark.parametrize("widths", [(4, 3), (4, 5), (16,)])
def test_a_holder_with_a_gap_or_an_overlap_cannot_be_written(widths: tuple[int, ...]) -> None:
    """A row whose bit fields do not fill it is refused where it is declared."""
    bits = tuple(Bits(f"b{index}", width, "", "", "") for index, width in enumerate(widths))
    with pytest.raises(ValueError, match="bit fields of holder do not fill their 8 bits"):
        Field("holder", U8, bits=bits)


def test_every_column_of_the_kernel_is_dated_and_explained() -> None:
    """A column from the kernel has a release, a source in its UAPI headers and a meaning of one line."""
    for column in COLUMNS:
        assert column.meaning and "\n" not in column.meaning and not column.meaning.endswith(".")
        if column.source != "xtcp":
            assert column.source.startswith("include/uapi/linux/") and column.source.endswith(".h")
            assert _release(column.since) >= (2, 6)


def test_an_attribute_is_not_newer_than_its_columns() -> None:
    """No column is dated before the attribute that carries it."""
    since = {attribute.number: _release(attribute.since) for attribute in ATTRIBUTES}
    for column in COLUMNS:
        if column.attribute and column.source not in ("xtcp", MPTCP_INFO.source):
            assert _release(column.since) >= since[column.attribute[0]], column.name


def test_members_of_growing_structs_are_dated_in_order() -> None:
    """tcp_info grows at its end: no member is older than one before it, but for bits put into old holders."""
    dates = [_release(field.since) for field in TCP_INFO.fields if field.since]
    assert dates == sorted(dates)


@pytest.mark.parametrize(
    ("struct", "size"),
    [
        (NLMSGHDR, 16),
        (INET_DIAG_MSG, 72),
        (INET_DIAG_REQ, 60),
        (INET_DIAG_REQ_V2, 56),
        (SK_MEMINFO, 36),
        (INET_DIAG_SOCKOPT, 2),
        (TCP_DIAG_MD5SIG, 100),
        (TCPVEGAS_INFO, 16),
        (TCP_DCTCP_INFO, 16),
        (TCP_BBR_INFO, 20),
        (MPTCP_INFO, 96),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_sizes_of_structs(struct: Struct, size: int) -> None:
    """Sizes as the headers give them; the compilers say the same where they are installed (tests/abi)."""
    assert size_of(struct) == size


@pytest.mark.parametrize(("length", "release"), TCP_INFO_LENGTHS.items())
def test_lengths_that_tcp_info_has_had(length: int, release: Release) -> None:
    """At each length a kernel has sent, a member ends, and all members up to there are of its release or older."""
    ends = {m.end: m.column for m in members(TCP_INFO, "<", max(release, (6, 18)))}
    assert length in ends
    inside = [m for m in members(TCP_INFO, "<", release) if m.end <= length]
    plain = [_release(BY_NAME[m.column].since) for m in inside if m.mask is None]
    assert max(plain) == release
    after = [_release(BY_NAME[m.column].since) for m in members(TCP_INFO, "<", (6, 18)) if m.end > length]
    assert all(since > release for since in after)


@pytest.mark.parametrize(
    ("release", "tail"),
    [
        (None, []),
        ((4, 19), []),
        ((6, 17), []),
        ((6, 18), ["tcpi_accecn_fail_mode", "tcpi_accecn_opt_seen"]),
        ((6, 19), ["tcpi_accecn_fail_mode", "tcpi_accecn_opt_seen"]),
        ((7, 0), ["tcpi_ecn_mode", "tcpi_accecn_opt_seen", "tcpi_accecn_fail_mode", "tcpi_options2"]),
        ((7, 2), ["tcpi_ecn_mode", "tcpi_accecn_opt_seen", "tcpi_accecn_fail_mode", "tcpi_options2"]),
    ],
)
def test_the_tail_of_tcp_info_is_chosen_by_release(release: Release | None, tail: list[str]) -> None:
    """Bytes 276 to 280 are read only where the release is known, in the layout of that release."""
    assert [m.column for m in members(TCP_INFO, "<", release) if m.offset >= 276] == tail
    assert size_of(TCP_INFO, release) == (280 if tail else 276)


def test_tails_of_a_struct_do_not_overlap() -> None:
    """At most one tail covers a release, and both layouts end at the same byte."""
    assert [sum(tail.covers((major, minor)) for tail in TCP_INFO.tails) for major in (6, 7) for minor in range(25)] == [
        *([0] * 18), *([1] * 7), *([1] * 25)
    ]  # fmt: skip
    assert not Tail((6, 18), None, ()).covers(None)


def test_a_column_of_two_layouts_has_the_wider_kind() -> None:
    """The u16 of 6.18 and the bit field of 7.0 are one column that holds both."""
    assert BY_NAME["tcpi_accecn_fail_mode"].kind is U16
    assert BY_NAME["tcpi_accecn_opt_seen"].kind is U16
    assert BY_NAME["tcpi_ecn_mode"].kind is U8
    assert BY_NAME["tcpi_options2"].kind is U32


@pytest.mark.parametrize(
    ("column", "number"),
    [
        ("idiag_rmem", 1),
        ("tcpi_rtt", 2),
        ("tcp_info_len", 2),
        ("mptcpi_token", 2),
        ("tcpv_rtt", 3),
        ("dctcp_alpha", 3),
        ("bbr_bw", 3),
        ("cong", 4),
        ("tos", 5),
        ("tclass", 6),
        ("class_id", 6),
        ("skmem_drops", 7),
    ],
)
def test_request_bit_of_a_column(column: str, number: int) -> None:
    """Each column is brought by its attribute's bit, congestion control data by one and class_id by tclass's."""
    assert ext_of([column]) == 1 << (number - 1)


@pytest.mark.parametrize("column", ["shutdown", "mark", "ulp_tls_version", "cgroup_id", "sockopt_freebind", "md5sig"])
def test_columns_that_need_no_request_bit(column: str) -> None:
    """What the kernel sends unasked costs no bit; nor do the fixed part and our own columns."""
    assert ext_of([column, "idiag_state", "hostname", "attributes"]) == 0


def test_request_bits_of_sets_of_columns() -> None:
    """Bits of several columns are joined; no column needs none, all need the seven that a byte of bits has."""
    assert ext_of([]) == 0
    assert ext_of(["tcpi_rtt", "cong", "cong"]) == 0b1010
    assert ext_of(BY_NAME) == 0b0111_1111
    assert ext_of(BY_NAME) & ~ALL_EXT == 0


def test_an_unknown_column_has_no_request_bit() -> None:
    """A name that is no column is a mistake of the caller, not a column that costs nothing."""
    with pytest.raises(KeyError):
        ext_of(["tcpi_rttt"])


def test_columns_of_attributes() -> None:
    """The columns an attribute fills, whole nests by the outer number, and none for one that carries nothing."""
    assert columns_of([4, 21]) == {"cong", "cgroup_id"}
    assert columns_of([]) == columns_of([14]) == columns_of([23]) == frozenset()
    assert {"tcpi_rtt", "mptcpi_token", "tcp_info_len", "tcp_info_surplus"} <= columns_of([2])
    assert {"ulp_name", "ulp_tls_cipher", "ulp_mptcp_flags"} <= columns_of([19])
    brought = columns_of(range(1, 23))
    assert {column.name for column in COLUMNS if column.attribute} == brought


def test_attribute_names() -> None:
    """The names people type are the kernel's without its prefix, in lower case, and reach every number."""
    names = attribute_names()
    assert names["info"] == 2 and names["vegasinfo"] == 3 and names["sk_bpf_storages"] == 20
    assert sorted(names.values()) == list(range(1, 23))


def test_what_info_is_depends_on_the_protocol() -> None:
    """INET_DIAG_INFO of protocol 262 is mptcp_info, of every other tcp_info."""
    assert info_struct(IPPROTO_MPTCP) is MPTCP_INFO
    assert info_struct(IPPROTO_TCP) is info_struct(0) is TCP_INFO


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("6.18.44-fc-v657", (6, 18)),
        ("6.1.0-50-s390x", (6, 1)),
        ("Linux 7.0.3", (7, 0)),
        ("5.10", (5, 10)),
        ("5.10.0", (5, 10)),
        ("7.2-rc1", (7, 2)),
        ("4.19.319", (4, 19)),
        ("2.6.32-754.el6.x86_64", (2, 6)),
        ("Linux version 6.6.44 (gcc 12.2.0)", (6, 6)),
        ("linux-6.18", (6, 18)),
        ("v6.18", (6, 18)),
        ("garbage", None),
        ("", None),
        ("6", None),
        ("6.", None),
        (".18", None),
        ("1234.5", None),
    ],
)
def test_kernel_release(text: str, release: Release | None) -> None:
    """Major and minor of what uname, a capture's header or a user writes; None where there is no release in it."""
    assert kernel_release(text) == release


def test_columns_that_need_a_capability() -> None:
    """Marks and keys on every kernel; all of ULP_INFO before 6.15, some of its MPTCP part since."""
    since = columns_needing("CAP_NET_ADMIN", (6, 18))
    assert {"mark", "md5sig", "ulp_mptcp_map_seq"} <= set(since)
    assert not {"ulp_name", "ulp_tls_version", "ulp_mptcp_token_loc", "tcpi_rtt"} & set(since)
    before = columns_needing("CAP_NET_ADMIN", (6, 1))
    assert set(before) == set(since) | {c.name for c in COLUMNS if c.attribute and c.attribute[0] == 19}
    assert columns_needing("CAP_NET_ADMIN", None) == since
