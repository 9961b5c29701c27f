"""Records written out by hand: what the layouts mean byte for byte, and that old and newer records are still read.

The bytes are from the .proto texts and https://protobuf.dev/programming-guides/encoding, not from a program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.batches import batch_of
from xtcp.chunk import Context
from xtcp.records.descriptor import message_classes
from xtcp.records.encoder import RecordEncoder
from xtcp.records.layouts import LAYOUTS
from xtcp.records.reading.reader import RecordReader
from xtcp.records.reading.varints import Varints

GOLDEN = Path(__file__).parent / "golden"

# An IPv4 socket of uid 1000, 127.0.0.1:443 to 10.0.0.2:50000. Zeros are sent; what the kernel did not tell is not.
XTCP_BY_HAND = """
0a 08                      epoch_time = 1, 8 bytes
   08 80 e2 cf aa 06         sec = 1: 1700000000
   10 05                     nsec = 2: 5
12 02 68 31                hostname = 2: "h1"
a2 06 30                   inet_diag_msg = 100, 48 bytes
   08 02                     family = 1: AF_INET
   10 01                     state = 2: ESTABLISHED
   18 00                     timer = 3
   20 00                     retrans = 4
   2a 1b                     socket_i_d = 5, 27 bytes
      08 bb 03                 source_port = 1: 443
      10 d0 86 03              destination_port = 2: 50000
      1a 04 7f 00 00 01        source = 3: 4 bytes, for it is IPv4
      22 04 0a 00 00 02        destination = 4
      28 00                    interface = 5
      30 81 80 80 80 20        cookie = 6: 1 | 2 << 32
   30 00                     expires = 6
   38 00                     rqueue = 7
   40 00                     wqueue = 8
   48 e8 07                  u_i_d = 9: 1000
   50 4d                     inode = 10: 77
b2 06 09                   tcp_info = 102, 9 bytes
   08 01                     state = 1
   f0 01 ac 02               rtt = 30: 300
   88 02 0a                  snd_cwnd = 33: 10
ba 06 05 63 75 62 69 63    congestion_algorithm_string = 103: "cubic"
c0 06 01                   congestion_algorithm_enum = 104: CUBIC
c8 06 10                   type_of_service = 105: 16
"""

# The same, flat: no zeros, tags from proto/tags.lock.
FLAT_BY_HAND = """
08 85 80 a8 b1 e3 9f e7 cb 17                          timestamp_ns = 1: 1700000000000000005
12 02 68 31                                            hostname = 2: "h1"
28 34                                                  attributes = 5: bits 2, 4 and 5
30 f8 01                                               tcp_info_len = 6: 248
38 02                                                  idiag_family = 7
40 01                                                  idiag_state = 8
48 bb 03                                               idiag_sport = 9: 443
50 d0 86 03                                            idiag_dport = 10: 50000
5a 10 7f 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00  idiag_src = 11: 16 bytes always
62 10 0a 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00  idiag_dst = 12
68 81 80 80 80 20                                      idiag_cookie = 13
70 4d                                                  idiag_inode = 14: 77
7a 05 63 75 62 69 63                                   cong = 15: "cubic"
f0 02 e8 07                                            idiag_uid = 46: 1000
b0 04 10                                               tos = 70: 16
f0 06 01                                               tcpi_state = 110
b8 08 ac 02                                            tcpi_rtt = 135: 300
d0 08 0a                                               tcpi_snd_cwnd = 138: 10
"""

# The same in xtcp2's second layout, numbers of its .proto.
XTCP2_BY_HAND = """
08 02                                                     schema_version = 1
12 01 64                                                  daemon_version = 2: "d"
50 85 80 a8 b1 e3 9f e7 cb 17                             timestamp_ns = 10
a2 01 02 68 31                                            hostname = 20
e0 03 01                                                  record_counter = 60: the first
c8 3e 02                                                  inet_diag_msg_family = 1001
d0 3e 01                                                  inet_diag_msg_state = 1002
e8 3e bb 03                                               inet_diag_msg_socket_source_port = 1005
f0 3e d0 86 03                                            inet_diag_msg_socket_destination_port = 1006
fa 3e 10 7f 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00  inet_diag_msg_socket_source = 1007: 16 bytes always
82 3f 10 0a 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00  inet_diag_msg_socket_destination = 1008
90 3f 81 80 80 80 20                                      inet_diag_msg_socket_cookie = 1010
c0 3f e8 07                                               inet_diag_msg_uid = 1016
c8 3f 4d                                                  inet_diag_msg_inode = 1017
88 4b 01                                                  tcp_info_state = 1201
f0 4c ac 02                                               tcp_info_rtt = 1230
88 4d 0a                                                  tcp_info_snd_cwnd = 1233
a2 51 05 63 75 62 69 63                                   inet_diag_cong = 1300
a8 51 01                                                  inet_diag_cong_enum = 1301: CUBIC
c8 57 10                                                  inet_diag_tos = 1401
"""

# Numbers that are not given yet: a varint, bytes, and 8 bytes.
LATER = """
98 70 05                       1795: 5
a2 70 02 01 02                 1796: 2 bytes
a9 70 00 00 00 00 00 00 00 00  1797
"""

ROW: dict[str, int | bytes] = {
    "attributes": 0b110100,
    "tcp_info_len": 248,
    "idiag_family": 2,
    "idiag_state": 1,
    "idiag_timer": 0,
    "idiag_retrans": 0,
    "idiag_sport": 443,
    "idiag_dport": 50000,
    "idiag_src": bytes([127, 0, 0, 1]) + bytes(12),
    "idiag_dst": bytes([10, 0, 0, 2]) + bytes(12),
    "idiag_if": 0,
    "idiag_cookie": 0x2_0000_0001,
    "idiag_expires": 0,
    "idiag_rqueue": 0,
    "idiag_wqueue": 0,
    "idiag_uid": 1000,
    "idiag_inode": 77,
    "tcpi_state": 1,
    "tcpi_rtt": 300,
    "tcpi_snd_cwnd": 10,
    "cong": b"cubic",
    "tos": 16,
    "shutdown": 0,
}
CONTEXT = Context(timestamp_ns=1_700_000_000_000_000_005, hostname="h1")


def by_hand(text: str) -> bytes:
    """The bytes of a listing: of each line the pairs of hexadecimal digits it begins with."""
    found = []
    for line in text.strip().splitlines():
        pairs = line.strip().split("  ")[0]
        found.append(bytes.fromhex(pairs))
    return b"".join(found)


@pytest.mark.parametrize(
    ("name", "listing"), [("xtcp", XTCP_BY_HAND), ("flat", FLAT_BY_HAND), ("xtcp2-2", XTCP2_BY_HAND)]
)
def test_fault_95_the_bytes_are_those_written_out_by_hand(name: str, listing: str) -> None:
    """The encoder writes them, and google.protobuf reads no field in them that the layout has not."""
    constants = {"daemon_version": "d"} if name == "xtcp2-2" else {}
    records = RecordEncoder(LAYOUTS[name], constants).encode(batch_of([ROW], CONTEXT))
    data = by_hand(listing)
    assert bytes(records.data[records.starts[0] : records.ends[0]]).hex(" ") == data.hex(" ")
    record = message_classes(LAYOUTS[name])[LAYOUTS[name].record.name]
    assert record.FromString(data).SerializeToString(deterministic=True) == data


def test_fault_95_google_protobuf_reads_the_xtcp_record_by_hand() -> None:
    """Field by field under the names of xTCP's proto; what was not sent is not there."""
    read: Any = message_classes(LAYOUTS["xtcp"])["xtcp_record"].FromString(by_hand(XTCP_BY_HAND))
    message = read.inet_diag_msg
    assert (read.epoch_time.sec, read.epoch_time.nsec, read.hostname) == (1_700_000_000, 5, "h1")
    assert (message.family, message.state, message.u_i_d, message.inode) == (2, 1, 1000, 77)
    assert message.HasField("timer") and message.timer == 0
    assert message.socket_i_d.source == bytes([127, 0, 0, 1])
    assert message.socket_i_d.cookie == 1 | 2 << 32
    assert (read.tcp_info.rtt, read.tcp_info.snd_cwnd) == (300, 10)
    assert read.congestion_algorithm_string == "cubic"
    assert read.congestion_algorithm_enum == 1
    assert read.type_of_service == 16
    for absent in ("tag", "mem_info", "sk_mem_info", "bbr_info", "shutdown_state", "class_id", "traffic_class"):
        assert not read.HasField(absent)


@pytest.mark.parametrize("file", sorted(path.name for path in GOLDEN.glob("flat-*.hex")))
def test_fault_95_records_of_earlier_releases_are_read(file: str) -> None:
    """An envelope of every release lies in golden/; each value is where it was."""
    envelope: Any = message_classes(LAYOUTS["flat"])["Envelope"].FromString(bytes.fromhex((GOLDEN / file).read_text()))
    record = envelope.record[0]
    for name, value in ROW.items():
        assert getattr(record, name) == (value.decode() if name == "cong" and isinstance(value, bytes) else value), name
    assert (record.timestamp_ns, record.hostname) == (CONTEXT.timestamp_ns, "h1")
    assert (envelope.header.hostname, envelope.header.stream, envelope.header.sequence) == ("h1", 2**64 - 1, 3)
    assert (envelope.trailer.poll_id, list(envelope.trailer.flags)) == (9, ["interrupted"])


def test_fault_95_what_a_later_release_adds_is_passed_over() -> None:
    """A field of a number that is not given yet, of any wire type, changes nothing of the others, and is kept."""
    later = by_hand(FLAT_BY_HAND + LATER)
    record: Any = message_classes(LAYOUTS["flat"])["Record"].FromString(later)
    assert record.tcpi_rtt == 300
    assert record.SerializeToString(deterministic=True) == later


def test_fault_95_what_an_earlier_release_does_not_send_is_zero() -> None:
    """A record with one field is a record."""
    record: Any = message_classes(LAYOUTS["flat"])["Record"].FromString(bytes.fromhex("38 0a"))
    assert (record.idiag_family, record.tcpi_rtt, record.cong) == (10, 0, "")


@pytest.mark.parametrize("more", ["", LATER], ids=["this release", "a later one"])
def test_fault_95_the_collector_reads_what_was_written_by_hand(more: str) -> None:
    """The row as it was, and a count of each number that is not known."""
    data = by_hand(FLAT_BY_HAND + more)
    varints = Varints(np.frombuffer(data, np.uint8))
    read = RecordReader(LAYOUTS["flat"]).read(varints, np.array([0]), np.array([len(data)]))
    assert read.fault.tolist() == [-1]
    assert read.unknown == ({(1795,): 1, (1796,): 1, (1797,): 1} if more else {})
    (batch,) = read.batches
    assert (batch.context.timestamp_ns, batch.context.hostname) == (CONTEXT.timestamp_ns, CONTEXT.hostname)
    for name, value in ROW.items():
        if name != "shutdown":  # its bit is not set
            cell = batch.columns[name][0]
            assert (cell.tobytes() if isinstance(value, bytes) and cell.ndim else cell) == value, name
    assert "shutdown" not in batch.columns
    assert batch.columns["tcpi_bytes_acked"][0] == 0
    assert "tcpi_received_ce" not in batch.columns
