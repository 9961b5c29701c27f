"""JSON lines and CSV against plain dictionaries, `json.dumps` and the `csv` module."""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import struct
from random import Random

import pytest

from tests.batches import Row, batch_of
from xtcp.batch import Batch
from xtcp.chunk import Context
from xtcp.encode import FORMATS, make_encoder
from xtcp.schema.columns import COLUMNS, CONTEXT_NAMES
from xtcp.schema.model import ADDRESS, BLOB, TEXT, Column, Order
from xtcp.schema.names import STATES

CONTEXT = Context(timestamp_ns=-1, hostname='h"100%s', netns="4026531840", poll_id=2**64 - 1, dump=3)
LISTS = ("md5sig", "locals", "peers")
HOSTILE = [
    b'say "hi"', b"back\\slash", b"new\nline", b"a\r\nb", b"c\rd", b"nul\0inside", b"\xff\xfe", b"%s %d %% %",
    b"sixteen bytes ok", b"\x1b[2J", b"\x7f", "\u2028".encode(), b"comma,comma", b"", b" ", "\u00fc\u4e2d".encode(),
    b"\xed\xa0\x80",
]  # fmt: skip


def text_of(format_: str, batch: Batch, columns: list[str] | None = None) -> str:
    """All that the encoder writes."""
    encoder = make_encoder(format_, columns)
    return encoder.begin() + "".join(encoder.encode(batch)) + encoder.end()


def a_value(column: Column, random: Random) -> int | bytes:
    """A value of the column's kind, often one of its limits."""
    if column.name == "idiag_family":
        return random.choice((2, 10, 10, 1))
    if column.kind is ADDRESS:
        mapped = bytes(10) + b"\xff\xff" + random.randbytes(4)
        return random.choice((random.randbytes(16), mapped, bytes(16), bytes(15) + b"\1", b"\x20\1" + bytes(14)))
    if column.kind is TEXT:
        return random.choice((b"cubic", b"bbr", random.choice(HOSTILE).replace(b"\0", b"")))
    if column.kind is BLOB:
        return b"" if column.name in LISTS else random.randbytes(random.randrange(9))
    bits = 8 * column.kind.size or 8
    return random.choice((0, 1, 2**bits - 1, random.randrange(2**bits)))


def rows_of_all_columns(count: int, random: Random) -> list[Row]:
    """Rows of all presence patterns: a few that repeat, and some that no other row has."""
    names = [column.name for column in COLUMNS if column.name not in CONTEXT_NAMES]
    usual = [frozenset(random.sample(names, n)) for n in (len(names), 90, 90, 15)]
    constant = {name: random.random() < 0.3 for name in names}
    values = {c.name: a_value(c, random) for c in COLUMNS}
    rows: list[Row] = []
    for i in range(count):
        there = random.choice(usual) if i % 9 else frozenset(random.sample(names, random.randrange(len(names))))
        there |= {"idiag_family"}
        rows.append(
            {c.name: values[c.name] if constant[c.name] else a_value(c, random) for c in COLUMNS if c.name in there}
        )
    return rows


def expected(row: Row, context: Context) -> dict[str, object]:
    """The row as a plain dictionary, by other means than the encoder's."""
    plain: dict[str, object] = dict(context.constants())
    family = row["idiag_family"]
    for column in COLUMNS:
        if column.name not in row:
            continue
        value = row[column.name]
        if column.name == "idiag_state" and isinstance(value, int):
            plain[column.name] = STATES.get(value, f"UNKNOWN({value})")
        elif isinstance(value, int):
            plain[column.name] = value
        elif column.kind is ADDRESS:
            plain[column.name] = address(value, family)
        elif column.kind is TEXT:
            plain[column.name] = value.decode("utf-8", "replace")
        else:
            plain[column.name] = [] if column.name in LISTS else value.hex()
    return plain


def address(raw: bytes, family: object) -> str:
    """An address of that family, in hexadecimal where it is no address."""
    if family == 2:
        return str(ipaddress.IPv4Address(raw[:4]))
    if family != 10:
        return raw.hex()
    mapped = ipaddress.IPv6Address(raw).ipv4_mapped
    return f"::ffff:{mapped}" if mapped else str(ipaddress.IPv6Address(raw))


@pytest.mark.parametrize("seed", range(3))
def test_json_is_what_json_dumps_writes(seed: int) -> None:
    """Every kind of column, any presence pattern, values at their limits: the lines are those of `json.dumps`."""
    rows = rows_of_all_columns(530, Random(seed))
    lines = text_of("json", batch_of(rows, CONTEXT)).splitlines()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line == json.dumps(expected(row, CONTEXT), separators=(",", ":"))


@pytest.mark.parametrize("seed", range(3))
def test_csv_has_the_values_of_json(seed: int) -> None:
    """The `csv` module reads the same values as json has, nothing where json leaves out."""
    rows = rows_of_all_columns(530, Random(seed))
    batch = batch_of(rows, CONTEXT)
    table = csv.DictReader(io.StringIO(text_of("csv", batch), newline=""), strict=True)
    objects = [json.loads(line) for line in text_of("json", batch).splitlines()]
    assert table.fieldnames == [column.name for column in COLUMNS]
    for record, row in zip(table, objects, strict=True):
        texts = {name: json.dumps(value) if isinstance(value, list) else str(value) for name, value in row.items()}
        assert record == {column.name: texts.get(column.name, "") for column in COLUMNS}


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_rows_come_in_the_kernels_order(format_: str) -> None:
    """A batch groups rows by layout; the text has them by the offsets of their messages."""
    rows: list[Row] = [{"idiag_inode": n, **({"cong": b"bbr"} if n % 3 else {})} for n in range(1200)]
    shuffled = list(range(1200))
    Random(4).shuffle(shuffled)
    batch = batch_of([rows[n] for n in shuffled], positions=[4 * n for n in shuffled])
    lines = text_of(format_, batch, ["idiag_inode"]).splitlines()
    want = [f'{{"idiag_inode":{n}}}' for n in range(1200)] if format_ == "json" else [str(n) for n in range(1200)]
    assert lines[-1200:] == want


@pytest.mark.parametrize("raw", HOSTILE)
@pytest.mark.parametrize("among_others", [False, True])
def test_a_hostile_text_stays_in_its_value(raw: bytes, among_others: bool) -> None:
    """Quotes, newlines, NUL, invalid UTF-8, `%`: one ASCII line a row without control characters; csv gives it back."""
    rows: list[Row] = [{"idiag_inode": 7, "cong": raw}, {"idiag_inode": 8, "cong": b"reno" if among_others else raw}]
    text = text_of("json", batch_of(rows))
    assert text.isascii()
    assert all(line.isprintable() for line in text.split("\n"))
    said = raw.decode("utf-8", "replace")
    objects = [json.loads(line) for line in text.splitlines()]
    assert objects == [
        {"idiag_inode": 7, "cong": said},
        {"idiag_inode": 8, "cong": "reno" if among_others else said},
    ]
    table = list(csv.reader(io.StringIO(text_of("csv", batch_of(rows), ["idiag_inode", "cong"]), newline="")))
    assert table[1] == ["7", said]


def test_a_host_name_that_no_encoding_can_write() -> None:
    """A lone surrogate, as Python makes of undecodable bytes of the system, does not reach the output."""
    batch = batch_of([{"idiag_inode": 1}], Context(hostname="a\udcffb"))
    for format_ in FORMATS:
        text = text_of(format_, batch, ["hostname"])
        text.encode("utf-8")
        assert "\udcff" not in text
        assert "a" in text


def test_chosen_columns_and_their_order() -> None:
    """Only the columns chosen, in that order, each once; a row without any of them is an empty object."""
    rows: list[Row] = [{"cong": b"bbr", "idiag_inode": 5, "mark": 1}, {"idiag_inode": 6}]
    batch = batch_of(rows, Context(poll_id=9))
    chosen = ["mark", "poll_id", "cong", "mark"]
    assert text_of("json", batch, chosen) == '{"mark":1,"poll_id":9,"cong":"bbr"}\n{"poll_id":9}\n'
    assert text_of("csv", batch, chosen) == "mark,poll_id,cong\n1,9,bbr\n,9,\n"
    assert text_of("json", batch, ["cong"]) == '{"cong":"bbr"}\n{}\n'


def test_one_column_that_varies_and_is_not_always_there() -> None:
    """A single value a row is written like any other, as a number and as a text."""
    rows: list[Row] = [{"mark": 1, "cong": b"a"}, {"mark": 2, "cong": b"b"}, {"idiag_inode": 1}]
    assert text_of("json", batch_of(rows), ["mark"]) == '{"mark":1}\n{"mark":2}\n{}\n'
    assert text_of("json", batch_of(rows), ["cong"]) == '{"cong":"a"}\n{"cong":"b"}\n{}\n'


def test_csv_with_one_column_has_no_blank_lines() -> None:
    """Readers skip a blank line, so an only field that is absent or empty is quoted."""
    rows: list[Row] = [{"cong": b"bbr"}, {"cong": b""}, {"mark": 1}]
    assert text_of("csv", batch_of(rows), ["cong"]) == 'cong\nbbr\n""\n""\n'


def test_csv_tells_an_empty_text_from_an_absent_one() -> None:
    """RFC 4180 allows both forms; readers that distinguish them can."""
    rows: list[Row] = [{"cong": b"", "mark": 1}, {"mark": 2}]
    assert text_of("csv", batch_of(rows), ["mark", "cong"]) == 'mark,cong\n1,""\n2,\n'


def test_an_empty_batch_gives_no_line() -> None:
    """No row, no line; the csv header stands alone."""
    assert text_of("json", batch_of([])) == ""
    assert text_of("csv", batch_of([]), ["cong"]) == "cong\n"


def test_a_mask_that_hides_all_rows() -> None:
    """A column that no row has any more, after duplicates are gone, is absent."""
    batch = batch_of([{"mark": 1, "idiag_inode": 1}, {"idiag_inode": 2}])
    kept = batch.take(~batch.valid["mark"])
    assert text_of("json", kept) == '{"idiag_inode":2}\n'


def test_addresses_need_their_family() -> None:
    """`reads` asks for it; without it the 16 bytes are written in hexadecimal, never guessed."""
    encoder = make_encoder("json", ["idiag_src"])
    assert encoder.reads == frozenset({"idiag_src", "idiag_family"})
    assert make_encoder("csv", ["idiag_sport"]).reads == frozenset({"idiag_sport"})
    assert make_encoder("json").reads is None
    raw = bytes([192, 0, 2, 1]) + bytes(12)
    assert text_of("json", batch_of([{"idiag_src": raw}]), ["idiag_src"]) == f'{{"idiag_src":"{raw.hex()}"}}\n'


def test_the_same_address_in_two_families() -> None:
    """Equal bytes are not an equal text where the family differs."""
    rows: list[Row] = [{"idiag_family": family, "idiag_src": bytes(16)} for family in (2, 10)]
    assert text_of("json", batch_of(rows), ["idiag_src"]) == '{"idiag_src":"0.0.0.0"}\n{"idiag_src":"::"}\n'


@pytest.mark.parametrize("order", ["<", ">"])
def test_sctp_addresses(order: Order) -> None:
    """Family in the host's order, port and address in the network's; what is no address stays as bytes."""
    v4 = struct.pack(order + "H", 2) + struct.pack(">H4s", 5000, bytes([192, 0, 2, 1]))
    v6 = struct.pack(order + "H", 10) + struct.pack(">H4x16s", 443, ipaddress.ip_address("fe80::1").packed)
    v6 += struct.pack(order + "I", 3)
    other = b"\xff" * 8
    payload = b"".join(part.ljust(128, b"\0") for part in (v4, v6, other)) + v4
    line = text_of("json", batch_of([{"peers": payload}], Context(order=order)))
    other_hex = other.ljust(128, b"\0").hex()
    assert json.loads(line) == {"peers": ["192.0.2.1:5000", "[fe80::1%3]:443", other_hex, v4.hex()]}


@pytest.mark.parametrize("order", ["<", ">"])
def test_md5_keys(order: Order) -> None:
    """One object a key with the kernel's names, its bytes only where they were kept; a cut one stays as bytes."""

    def key(family: int, prefix: int, address: bytes, secret: bytes) -> bytes:
        return struct.pack(order + "BBH16s80s", family, prefix, 3, address, secret)

    v6 = ipaddress.ip_address("2001:db8::").packed
    payload = key(2, 24, bytes([192, 0, 2, 0]), b"") + key(10, 32, v6, b"abc") + b"\2"
    batch = batch_of([{"md5sig": payload}], Context(order=order))
    first = {"tcpm_family": 2, "tcpm_prefixlen": 24, "tcpm_keylen": 3, "tcpm_addr": "192.0.2.0"}
    second = {
        "tcpm_family": 10,
        "tcpm_prefixlen": 32,
        "tcpm_keylen": 3,
        "tcpm_addr": "2001:db8::",
        "tcpm_key": "616263",
    }
    assert json.loads(text_of("json", batch)) == {"md5sig": [first, second, "02"]}
    [record] = csv.DictReader(io.StringIO(text_of("csv", batch, ["md5sig"])))
    assert json.loads(record["md5sig"]) == [first, second, "02"]
    assert text_of("table", batch, ["md5sig"]).split() == ["md5sig", "192.0.2.0/24,2001:db8::/32,02"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_md5_keys_of_a_host_that_nobody_names(order: Order) -> None:
    """Records carry the struct and not the byte order: the length, 80 at most, tells it; what neither gives stays."""
    for length, shown in ((1, 1), (80, 80), (0x0102, 0x0102), (0, 0)):
        key = struct.pack(order + "BBH16s80s", 2, 32, length, bytes([192, 0, 2, 1]), b"")
        for told in ("<", ">") if length <= 80 else (order,):
            (found,) = json.loads(text_of("json", batch_of([{"md5sig": key}], Context(order=told))))["md5sig"]
            assert found["tcpm_keylen"] == shown


def test_an_unknown_column_or_format_is_a_key_error() -> None:
    """The command checks names and says what was meant; here a wrong one is a fault of the program."""
    for format_ in FORMATS:
        with pytest.raises(KeyError):
            make_encoder(format_, ["tcpi_no_such"])
    with pytest.raises(KeyError):
        make_encoder("xml")
