"""The table for people: what it shows, what it leaves out, how it aligns."""

from __future__ import annotations

import ipaddress

import pytest

from tests.batches import Row, batch_of
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.encode.table import DEFAULT_COLUMNS, DEFAULT_VIEW, Table, endpoint
from xtcp.spelling import visible


def packed(address: str) -> bytes:
    """The 16 bytes that the kernel sends for an address."""
    return ipaddress.ip_address(address).packed.ljust(16, b"\0")


def row(columns: Row | None = None, local: str = "192.0.2.1", peer: str = "198.51.100.7") -> Row:
    """An established connection, with `columns` instead of or beside its own."""
    return {
        "idiag_family": 2 if ipaddress.ip_address(local).version == 4 else 10,
        "idiag_state": 1,
        "idiag_src": packed(local),
        "idiag_dst": packed(peer),
        "idiag_sport": 443,
        "idiag_dport": 51000,
        "idiag_if": 0,
        "idiag_rqueue": 0,
        "idiag_wqueue": 0,
        **(columns or {}),
    }


MEASURED: dict[str, int | bytes] = {
    "tcpi_rtt": 12_345,
    "tcpi_rttvar": 36,
    "tcpi_min_rtt": 9_990,
    "tcpi_snd_cwnd": 10,
    "tcpi_retrans": 1,
    "tcpi_total_retrans": 23,
    "tcpi_lost": 2,
    "tcpi_delivery_rate": 1_540_000,
    "tcpi_bytes_sent": 1_234_567,
    "tcpi_bytes_received": 512,
    "tcpi_rwnd_limited": 500,
    "tcpi_sndbuf_limited": 0,
    "tcpi_busy_time": 1000,
    "cong": b"cubic",
}


def text_of(table: Table, *batches: Batch) -> str:
    """All that the encoder writes."""
    return table.begin() + "".join("".join(table.encode(batch)) for batch in batches) + table.end()


def test_the_default_view() -> None:
    """State names, addresses with ports, times in ms, sizes and rates with their units; absent is blank."""
    listener = row({"idiag_state": 10, "idiag_dport": 0, "idiag_wqueue": 4096}, "0.0.0.0", "0.0.0.0")
    text = text_of(Table(), batch_of([row(MEASURED), listener]))
    assert text == (
        "State       Recv-Q  Send-Q  Local Address:Port  Peer Address:Port    rtt/var ms  minrtt  cwnd  retrans  lost"
        "  delivery   sent  received  rwnd-lim  sndbuf-lim  cong\n"
        "ESTAB            0       0  192.0.2.1:443       198.51.100.7:51000   12.3/0.036    9.99    10     1/23     2"
        "  12.3Mbps  1.18M       512       50%          0%  cubic\n"
        "LISTEN           0    4096  0.0.0.0:443         0.0.0.0:*\n"
    )


def test_what_was_not_measured_is_a_dash() -> None:
    """Zero round trip times, no smallest one, no rate, no busy time: `-`, which differs from absent."""
    nothing = MEASURED | {"tcpi_rtt": 0, "tcpi_min_rtt": 2**32 - 1, "tcpi_delivery_rate": 0, "tcpi_busy_time": 0}
    cells = text_of(Table(), batch_of([row(nothing)])).splitlines()[1].split()
    assert cells[5:] == ["-", "-", "10", "1/23", "2", "-", "1.18M", "512", "-", "-", "cubic"]


@pytest.mark.parametrize("width", range(56, 220, 7))
def test_it_fits_the_terminal(width: int) -> None:
    """No line is wider than the terminal; addresses are whole; a wider terminal shows no less."""
    batch = batch_of([row(MEASURED), row(MEASURED, "203.0.113.200")])
    lines = text_of(Table(width=width), batch).splitlines()
    assert max(map(len, lines)) <= width
    assert "203.0.113.200:443 " in lines[2]
    narrower = text_of(Table(width=width - 1), batch).splitlines()
    assert set(narrower[0].split()) <= set(lines[0].split())


def test_the_least_useful_columns_go_first() -> None:
    """At 80 columns what remains is who, queues and round trip time; unlimited, everything is there."""
    batch = batch_of([row(MEASURED)])
    narrow = text_of(Table(width=80), batch).splitlines()[0]
    assert narrow.split("  ")[0] == "State"
    assert "Recv-Q" in narrow
    assert "sndbuf-lim" not in narrow
    everything = text_of(Table(width=None), batch).splitlines()[0]
    assert all(view.title in everything for view in DEFAULT_VIEW)


def test_addresses_are_cut_when_nothing_else_is_left() -> None:
    """Two long IPv6 addresses on a narrow terminal lose their middles and keep their ports."""
    long = "2001:db8:1111:2222:3333:4444:5555:6666"
    lines = text_of(Table(width=80), batch_of([row(MEASURED, long, long)])).splitlines()
    assert lines[0].split("  ")[0] == "State"
    assert len(lines[1]) <= 80
    assert lines[1].count("..") == 2
    assert ":443 " in lines[1]
    assert lines[1].endswith(":51000")
    whole = text_of(Table(width=110), batch_of([row(MEASURED, long, long)]))
    assert f"[{long}]:443  [{long}]:51000" in whole


def test_widths_are_those_of_the_first_batch() -> None:
    """The header comes once; a longer cell of a later batch pushes the rest and is not cut."""
    later = row(None, "2001:db8:1111:2222:3333:4444:5555:6666", "::1")
    lines = text_of(Table(), batch_of([row()]), batch_of([]), batch_of([later, row()])).splitlines()
    assert len(lines) == 4
    assert lines[1] == lines[3]
    assert "[2001:db8:1111:2222:3333:4444:5555:6666]:443  [::1]:51000" in lines[2]


def test_no_row_still_gives_the_header() -> None:
    """A host without sockets shows what would be there, also within a width."""
    assert text_of(Table(), batch_of([])).count("\n") == 1
    assert len(text_of(Table(width=80), batch_of([])).rstrip("\n")) <= 80
    assert text_of(Table(["cong"])) == "cong\n"


def test_chosen_columns() -> None:
    """In the order chosen, each once, none left out for the width; units by the schema, blank where absent."""
    names = ["idiag_state", "tcpi_rtt", "tcpi_last_data_sent", "skmem_rcvbuf", "tcpi_pacing_rate", "cong", "idiag_src"]
    values: dict[str, int | bytes] = {
        "tcpi_rtt": 850,
        "tcpi_last_data_sent": 61_000,
        "skmem_rcvbuf": 131_072,
        "tcpi_pacing_rate": 2**64 - 1,
        "cong": b"bbr",
    }
    text = text_of(
        Table([*names, "idiag_state"], width=20), batch_of([row(values), row({"idiag_state": 99}, "::1", "::1")])
    )
    assert text.splitlines() == [
        "idiag_state  tcpi_rtt  tcpi_last_data_sent  skmem_rcvbuf  tcpi_pacing_rate  cong  idiag_src",
        "ESTAB           850us              1.02min          128K                 -  bbr   192.0.2.1",
        "UNKNOWN(99)                                                                       ::1",
    ]


def test_queues_keep_their_digits() -> None:
    """On a listener they count connections, so no size in K is made of them."""
    text = text_of(
        Table(["idiag_wqueue", "dump", "hostname"]), batch_of([row({"idiag_wqueue": 4096})], Context(dump=2))
    )
    assert text.splitlines()[1].split() == ["4096", "2"]


def test_rows_come_in_the_kernels_order() -> None:
    """Not in the order of the batch, which groups rows by layout."""
    batch = batch_of([row({"idiag_rqueue": 2}), row({"idiag_rqueue": 1})], positions=[400, 0])
    assert [line.split()[1] for line in text_of(Table(), batch).splitlines()[1:]] == ["1", "2"]


def test_no_text_reaches_the_terminal_raw() -> None:
    """Escape sequences, newlines, direction marks of a socket's text are shown, not obeyed."""
    for column, context in (("cong", Context()), ("hostname", Context(hostname="\x1b[2J\n\u202e"))):
        batch = batch_of([row({"cong": b"\x1b[2J\n\xe2\x80\xae"})], context)
        lines = text_of(Table([column]), batch).split("\n")
        assert lines[1] == "\\x1b[2J\\n\\u202e"
    assert visible("plain \u00fc") == "plain \u00fc"
    assert visible("\x9b\x7f") == "\\x9b\\x7f"


@pytest.mark.parametrize(
    ("address", "port", "interface", "text"),
    [
        ("192.0.2.1", 22, 3, "192.0.2.1:22"),
        ("192.0.2.1", 0, 0, "192.0.2.1:*"),
        ("::", 0, 0, "[::]:*"),
        ("::ffff:192.0.2.1", 80, 0, "[::ffff:192.0.2.1]:80"),
        ("fe80::1", 80, 3, "[fe80::1]%3:80"),
        ("febf::1", 80, 3, "[febf::1]%3:80"),
        ("fe80::1", 80, 0, "[fe80::1]:80"),
        ("fec0::1", 80, 3, "[fec0::1]:80"),
    ],
)
def test_endpoints(address: str, port: int, interface: int, text: str) -> None:
    """IPv6 in brackets, the interface only where an address means nothing without it, `*` for no port."""
    family = 2 if ipaddress.ip_address(address).version == 4 else 10
    assert endpoint(packed(address), port, family, interface) == text


def test_default_columns_are_what_the_default_view_reads() -> None:
    """What the command asks the kernel for is what the table needs."""
    assert frozenset(DEFAULT_COLUMNS) == Table().reads
