"""The ss witness: it understands every token of ss, and does not let a wrong value pass."""

from __future__ import annotations

from typing import Any

import pytest

from xtcp.schema.model import Order
from xtcp_replay.judging.known_faults import Case, explanation
from xtcp_replay.judging.witnesses.ss_formats import Row, rate_texts, timer_text
from xtcp_replay.judging.witnesses.ss_text import Line, compare, groups_shown, match, parse, rows_by_key
from xtcp_replay.judging.witnesses.testimony import Difference

TEXT = """\
State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process
LISTEN 0      128          0.0.0.0:22         0.0.0.0:*     ino:20742 sk:16 cgroup:/a.service <-> tos:0 class_id:0
\t skmem:(r0,rb1000,t0,tb2000,f0,w0,o0,bl0,d0) cubic cwnd:10
ESTAB  0      5          127.0.0.1:4000     127.0.0.1:4001  users:(("a (b) c",pid=9,fd=8)) timer:(on,6.146ms,2) \
uid:1000 ino:7 sk:1000000ab fwmark:0x2a cgroup:/user.slice --> tos:0x48 class_id:0x2 cgroup:/user.slice
\t skmem:(r1,rb2,t3,tb4,f5,w6,o7,bl8,d9) ts sack ecn ecnseen bbr wscale:7,9 rto:204 rtt:0.048/0.014 mss:1448 pmtu:1500 \
cwnd:10 ssthresh:7 bytes_sent:1570 bbr:(bw:8000bps,mrtt:0.3,pacing_gain:2.88672) send 2413333333bps lastack:4 \
pacing_rate 16000bps/24000bps delivery_rate 8bps delivered:3 app_limited busy:9ms rwnd_limited:3ms(40.0%) retrans:0/1 \
reordering:5 rcv_rtt:9.22 minrtt:0.009
"""

LISTENER = {
    "idiag_state": "LISTEN", "idiag_src": "0.0.0.0", "idiag_sport": 22, "idiag_dst": "0.0.0.0", "idiag_dport": 0,
    "idiag_if": 0, "idiag_rqueue": 0, "idiag_wqueue": 128, "idiag_inode": 20742, "idiag_cookie": 0x16, "cgroup_id": 5,
    "shutdown": 0, "tos": 0, "class_id": 0, "skmem_rmem_alloc": 0, "skmem_rcvbuf": 1000, "skmem_wmem_alloc": 0,
    "skmem_sndbuf": 2000, "skmem_fwd_alloc": 0, "skmem_wmem_queued": 0, "skmem_optmem": 0, "skmem_backlog": 0,
    "skmem_drops": 0, "tcpi_state": 10, "tcpi_snd_cwnd": 10, "tcpi_reordering": 3, "tcpi_sacked": 128, "cong": "cubic",
    "tcpi_rto": 3_000_000, "tcpi_snd_ssthresh": 0x7FFFFFFF, "tcpi_min_rtt": 0xFFFFFFFF,
}  # fmt: skip

ESTABLISHED = {
    "idiag_state": "ESTAB", "idiag_src": "127.0.0.1", "idiag_sport": 4000, "idiag_dst": "127.0.0.1",
    "idiag_dport": 4001, "idiag_if": 0, "idiag_rqueue": 0, "idiag_wqueue": 5, "idiag_timer": 1, "idiag_expires": 6146,
    "idiag_retrans": 2, "idiag_uid": 1000, "idiag_inode": 7, "idiag_cookie": 0x1_000000AB, "mark": 42, "cgroup_id": 5,
    "shutdown": 1, "tos": 0x48, "class_id": 2, "skmem_rmem_alloc": 1, "skmem_rcvbuf": 2, "skmem_wmem_alloc": 3,
    "skmem_sndbuf": 4, "skmem_fwd_alloc": 5, "skmem_wmem_queued": 6, "skmem_optmem": 7, "skmem_backlog": 8,
    "skmem_drops": 9, "tcpi_state": 1, "tcpi_options": 1 | 2 | 4 | 8 | 16, "tcpi_snd_wscale": 7, "tcpi_rcv_wscale": 9,
    "tcpi_rto": 204_000, "tcpi_rtt": 48, "tcpi_rttvar": 14, "tcpi_snd_mss": 1448, "tcpi_pmtu": 1500,
    "tcpi_snd_cwnd": 10, "tcpi_snd_ssthresh": 7, "tcpi_bytes_sent": 1570, "bbr_bw": 1000, "bbr_min_rtt": 300,
    "bbr_pacing_gain": 739, "bbr_cwnd_gain": 0, "tcpi_last_ack_recv": 4, "tcpi_pacing_rate": 2000,
    "tcpi_max_pacing_rate": 3000, "tcpi_delivery_rate": 1, "tcpi_delivered": 3, "tcpi_delivery_rate_app_limited": 1,
    "tcpi_busy_time": 9999, "tcpi_rwnd_limited": 3999, "tcpi_total_retrans": 1, "tcpi_reordering": 5,
    "tcpi_rcv_rtt": 9220, "tcpi_min_rtt": 9, "cong": "bbr",
}  # fmt: skip

FIXED = {
    "idiag_state": "ESTAB", "idiag_src": "::1", "idiag_sport": 1, "idiag_dst": "::1", "idiag_dport": 2,
    "idiag_rqueue": 0, "idiag_wqueue": 0, "idiag_if": 0,
}  # fmt: skip
END = "ESTAB 0 0 [::1]:1 [::1]:2 "


def disagreements(line: Line, row: Row, *, host: Order = "<", **options: Any) -> list[Difference]:
    """What line and row do not agree on, without what ss is known to get wrong on a host of that byte order."""
    found = compare(line, row, **options)[1]
    return [difference for difference in found if explanation("ss", Case(difference, row, host, host)) is None]


def changed(row: dict[str, object], column: str) -> dict[str, object]:
    """The row with one value made wrong."""
    value = row[column]
    if isinstance(value, int):
        return {**row, column: value ^ 1 if value < 2 else value + 1}
    return {**row, column: "192.0.2.77" if column in ("idiag_src", "idiag_dst") else f"{value}x"}


def test_a_faithful_row_has_no_disagreement() -> None:
    """Header, continuation lines, zeros that ss hides and values that ss derives are all understood."""
    lines = parse(TEXT)
    assert [line.state for line in lines] == ["LISTEN", "ESTAB"]
    assert lines[1].cookie == 0x1_000000AB
    assert disagreements(lines[0], LISTENER) == []
    assert disagreements(lines[1], ESTABLISHED) == []


@pytest.mark.parametrize("column", sorted(set(ESTABLISHED) - {"cgroup_id", "tcpi_state", "bbr_cwnd_gain"}))
def test_one_wrong_value_is_seen(column: str) -> None:
    """Every column that ss shows is compared: none can be wrong, or be left out, without a disagreement."""
    line = parse(TEXT)[1]
    assert disagreements(line, changed(dict(ESTABLISHED), column))
    if column not in ("idiag_state", "idiag_src", "idiag_dst", "idiag_if", "idiag_rqueue"):
        assert disagreements(line, {key: value for key, value in ESTABLISHED.items() if key != column})


def test_a_disagreement_names_token_expected_and_got() -> None:
    """A difference says which token, what ss should have printed and what it did."""
    assert disagreements(parse(TEXT)[1], {**ESTABLISHED, "tcpi_rtt": 49, "tcpi_snd_mss": 0}) == [
        Difference("rtt:", ("0.049/0.014",), "0.048/0.014"),
        Difference("mss:", (), "1448"),
        Difference("send ", (), "2413333333bps"),
    ]


@pytest.mark.parametrize("token", ["rtt2:5", "novelty", "send:5", "<+>", "snd_wnd:5", "rtt:0.048/0.014"])
def test_a_token_that_nothing_explains_is_a_disagreement(token: str) -> None:
    """Unknown tokens, tokens the row has no value for and repeated tokens do not pass."""
    (line,) = parse(TEXT.splitlines()[3] + TEXT.splitlines()[4] + " " + token)
    assert disagreements(line, ESTABLISHED)


def test_a_value_that_ss_did_not_print_is_seen_unless_told() -> None:
    """The reverse: by rule ss prints every non-zero value, except what its release or its options do not show."""
    line = parse(TEXT)[1]
    row = {**ESTABLISHED, "tcpi_rcv_wnd": 9}
    assert disagreements(line, row) == [Difference("rcv_wnd:", ("9",), None)]
    assert disagreements(line, row, unprinted=["rcv_wnd:"]) == []
    bare = parse(END + "cubic")[0]
    hidden = {**FIXED, "tcpi_state": 1, "tcpi_reordering": 3, "cong": "cubic", "idiag_inode": 5, "tos": 4}
    assert len(disagreements(bare, hidden)) == 2
    assert disagreements(bare, hidden, groups=groups_shown([bare])) == []


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("UNCONN 0 0 *:8080 *:*", {"idiag_state": "UNCONN", "idiag_src": "::", "idiag_sport": 8080, "idiag_dst": "::"}),
        ("LISTEN 0 0 [::]:22 [::]:*", {"idiag_src": "::", "idiag_sport": 22, "idiag_dst": "::", "skv6only": 1}),
        ("LISTEN 0 0 0.0.0.0:22 0.0.0.0:*", {"idiag_src": "0.0.0.0", "idiag_sport": 22, "idiag_dst": "0.0.0.0"}),
        (
            "LISTEN 0 0 [fe80::1]%eth0:22 [::ffff:1.2.3.4]:9",
            {"idiag_src": "fe80::1", "idiag_sport": 22, "idiag_dst": "::ffff:1.2.3.4", "idiag_dport": 9, "idiag_if": 3},
        ),
        ("tcp LISTEN -1 0 *%lo:22 *:*", {"idiag_src": "::", "idiag_sport": 22, "idiag_dst": "::", "idiag_if": 1,
                                         "idiag_rqueue": 0xFFFFFFFF}),
    ],
)  # fmt: skip
def test_addresses_in_every_form(text: str, columns: dict[str, object]) -> None:
    """Wildcards, scopes, v4-mapped addresses, a Netid column and queues printed with a sign."""
    row = {"idiag_state": "LISTEN", "idiag_rqueue": 0, "idiag_wqueue": 0, "idiag_dport": 0, "idiag_if": 0, **columns}
    (line,) = parse(text)
    assert disagreements(line, row, groups=()) == []
    assert disagreements(line, {**row, "idiag_src": "2001:db8::9"}, groups=())
    assert disagreements(line, {**row, "idiag_if": 0 if row["idiag_if"] else 5}, groups=())


def test_what_is_compared_is_counted() -> None:
    """The eight fixed columns, and each token that is printed; not what neither prints, nor a path of this host."""
    assert compare(parse(END)[0], FIXED) == (8, [])
    assert compare(parse(END + "ino:5 cgroup:/a.slice cgroup:unreachable:9")[0], {**FIXED, "idiag_inode": 5}) == (
        10,
        [Difference("cgroup:", (), "/a.slice"), Difference("cgroup:", (), "unreachable:9")],
    )


def test_maplen_fault_depends_on_the_byte_order_of_the_host() -> None:
    """ss reads the u16 MAP_DATALEN as u32: a big-endian host prints 50000 for 5."""
    big, little = parse(END + "maplen:50000")[0], parse(END + "maplen:5")[0]
    row = {**FIXED, "ulp_mptcp_map_datalen": 5}
    assert disagreements(big, row, host=">") == disagreements(little, row, host="<") == []
    assert len(disagreements(big, row, host="<")) == 1
    assert len(disagreements(parse(END + "maplen:60000")[0], row, host=">")) == 1


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"idiag_timer": 1, "idiag_expires": 6146}, "timer:(on,6.146ms,0)"),
        ({"idiag_timer": 2, "idiag_expires": 0}, "timer:(keepalive,,0)"),
        ({"idiag_timer": 5, "idiag_expires": 40, "idiag_retrans": 3}, "timer:(unknown,040ms,3)"),
        ({"idiag_timer": 5, "idiag_expires": 1040}, "timer:(unknown,1.040ms,0)"),
        ({"tcpi_snd_mss": 0x8000_0001}, "mss:-2147483647"),
    ],
)
def test_known_faults_are_foretold_to_the_letter(row: dict[str, object], text: str) -> None:
    """What ss prints wrong is a difference, and explained; one digit beside it is not."""
    (line,), (other,) = parse(END + text), parse(END + text.replace("4", "5").replace("0)", "1)").replace("3)", "1)"))
    whole = {**FIXED, **row}
    assert compare(line, whole)[1] != []
    assert disagreements(line, whole) == []
    if other != line:
        assert len(disagreements(other, whole)) == 1


def test_ulp_sockopt_and_congestion_tokens() -> None:
    """Tokens with blanks inside stay whole and are compared: TLS, MPTCP subflow, inet-sockopt, dctcp, mem."""
    text = (
        END + "v6only:0 mem:(r1,w2,f3,t4) inet-sockopt: ( recverr is_icsk bind_addr_no_port) reno "
        "dctcp:fallback_mode tcp-ulp-tls version: 1.3 cipher: aes-gcm-256 rxconf: none txconf: hw-record zc_ro_tx "
        "flags:Mec token:0000(id:0)/f05ad468(id:1) seq:c88c sfseq:1 ssnoff:8d "
        "md5keys:192.0.2.1/32=secret,::1/128=x locals:192.0.2.1,192.0.2.2"
    )
    row: dict[str, object] = {
        **FIXED, "skv6only": 0, "idiag_rmem": 1, "idiag_wmem": 2, "idiag_fmem": 3, "idiag_tmem": 4,
        "sockopt_recverr": 1, "sockopt_is_icsk": 1, "sockopt_freebind": 0, "sockopt_bind_address_no_port": 1,
        "tcpi_state": 1, "tcpi_reordering": 3, "cong": "reno", "dctcp_enabled": 0, "ulp_name": "tls",
        "ulp_tls_version": 0x304, "ulp_tls_cipher": 52, "ulp_tls_rxconf": 1, "ulp_tls_txconf": 4, "ulp_tls_zc_ro_tx": 1,
        "ulp_mptcp_flags": 1 | 64 | 128, "ulp_mptcp_token_rem": 0, "ulp_mptcp_id_rem": 0,
        "ulp_mptcp_token_loc": 0xF05AD468, "ulp_mptcp_id_loc": 1, "ulp_mptcp_map_seq": 0xC88C,
        "ulp_mptcp_map_sfseq": 1, "ulp_mptcp_ssn_offset": 0x8D, "md5sig": "192.0.2.1/32",
        "locals": "192.0.2.1,192.0.2.2",
    }  # fmt: skip
    (line,) = parse(text)
    assert disagreements(line, row) == []
    for column in row.keys() - FIXED.keys() - {"md5sig", "tcpi_state", "skv6only", "dctcp_enabled"}:
        assert disagreements(line, changed(row, column)), column


@pytest.mark.parametrize("write_seq", ["c9bc7d939eb7c525", str(0xC9BC7D939EB7C525)])
def test_mptcp_sockets_have_their_own_tokens(write_seq: str) -> None:
    """mptcp_info is printed by other rules; its sequence numbers are hexadecimal or decimal by release."""
    (line,) = parse(END + f"subflows_max:2 remote_key token:46f8d0d write_seq:{write_seq} bytes_sent:5")
    row = {
        **FIXED, "mptcpi_subflows": 0, "mptcpi_subflows_max": 2, "mptcpi_flags": 2, "mptcpi_token": 0x46F8D0D,
        "mptcpi_write_seq": 0xC9BC7D939EB7C525, "mptcpi_bytes_sent": 5,
    }  # fmt: skip
    assert disagreements(line, row) == []
    assert len(disagreements(line, {**row, "mptcpi_write_seq": 1, "mptcpi_bytes_sent": 6})) == 2


def test_a_control_group_without_a_path_is_compared_by_its_id() -> None:
    """The path of a control group is the host's knowledge, the id of an unreachable one is the message's."""
    row = {**FIXED, "cgroup_id": 0x16B8}
    assert disagreements(parse(END + "cgroup:/user.slice")[0], row) == []
    assert disagreements(parse(END + "cgroup:unreachable:16b8")[0], row) == []
    assert len(disagreements(parse(END + "cgroup:unreachable:16b9")[0], row)) == 1


def test_send_rate_follows_the_rtt_of_vegas() -> None:
    """send is cwnd · mss / rtt, and vegas' own rtt stands in where vegas is enabled and has one."""
    row = {
        **FIXED, "tcpi_state": 1, "tcpi_reordering": 3, "tcpi_rtt": 1000, "tcpi_snd_mss": 1000, "tcpi_snd_cwnd": 10,
        "tcpv_enabled": 1, "tcpv_rtt": 2000,
    }  # fmt: skip
    (line,) = parse(END + "rtt:1/0 mss:1000 cwnd:10 send 40000000bps")
    assert disagreements(line, row) == []
    assert len(disagreements(line, {**row, "tcpv_enabled": 0})) == 1


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "000ms"), (39, "039ms"), (611, "611ms"), (1000, "1sec"), (6146, "6.146sec"), (10_999, "10sec"),
     (75_400, "1min15sec"), (119 * 60_000 + 30_000, "119min")],
)  # fmt: skip
def test_durations_as_ss_should_print_them(milliseconds: int, text: str) -> None:
    """Each branch of print_ms_timer, without its faults."""
    assert timer_text(milliseconds) == text


@pytest.mark.parametrize(
    ("bits", "texts"),
    [(8.0, ("8bps", "8bps")), (14_800_000.0, ("14800000bps", "14.8Mbps")), (51.3e9, ("51300000000bps", "51.3Gbps")),
     (1234.0, ("1234bps", "1.23kbps")), (2e12, ("2000000000000bps", "2Tbps"))],
)  # fmt: skip
def test_rates_with_and_without_units(bits: float, texts: tuple[str, str]) -> None:
    """-n prints bits, its absence three significant digits and a unit."""
    assert rate_texts(bits)[:2] == texts


def test_match_by_cookie_and_by_ends() -> None:
    """With -e lines find their row by cookie; without it by state and both ends, the closest row of equals first."""
    rows = [ESTABLISHED, {**LISTENER, "idiag_cookie": 99}, LISTENER]
    found = match(parse(TEXT), rows)
    assert [row["idiag_cookie"] for _, row in found.pairs] == [0x16, 0x1_000000AB]
    assert (found.lines, [row["idiag_cookie"] for row in found.rows]) == ((), [99])

    twins = parse("LISTEN 0 7 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nESTAB 0 0 [::1]:1 [::1]:2\n")
    found = match(twins, [LISTENER, {**LISTENER, "idiag_wqueue": 7}])
    assert [row["idiag_wqueue"] for _, row in found.pairs] == [7, 128]
    assert [line.state for line in found.lines] == ["ESTAB"]
    assert len(rows_by_key([LISTENER, LISTENER])[(0x16,)]) == 2


@pytest.mark.parametrize(
    "text",
    ["\t skmem:(r0)", "ESTAB 0 0 127.0.0.1:ssh 127.0.0.1:1", "ESTAB 0 0 127.0.0.1:1", "ss: command not found", "x"],
)
def test_a_text_that_is_no_socket_is_refused_with_its_line_number(text: str) -> None:
    """A broken witness is an error, not an empty list that agrees with everything."""
    with pytest.raises(ValueError, match="line 1"):
        parse(text)


def test_a_row_of_another_type_is_refused() -> None:
    """Values that are no integers are a fault of the caller, not a disagreement."""
    with pytest.raises(TypeError, match="tcpi_rtt is str"):
        disagreements(parse(TEXT)[1], {**ESTABLISHED, "tcpi_rtt": "48"})
