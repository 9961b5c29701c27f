"""Exhibits of the attributes: what socket options, congestion controls, interfaces and upper protocols show.

Each opens its sockets in one address family and writes them down in the zoo; it raises OSError or ``Unavailable`` where
the kernel or the privilege is wanting.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from functools import partial
from pathlib import Path

from tests.sockets.zoo_keeping import (
    ANY,
    IPPROTO_MPTCP,
    LOOPBACK,
    Expected,
    Key,
    Unavailable,
    V,
    Zoo,
    address_of,
    states_now,
)
from tests.sockets.zoo_queue import congested, hold_back
from tests.sockets.zoo_states import call_in_vain, fill, send_through
from tests.sockets.zoo_surroundings import (
    INTERFACE,
    SECOND,
    capable_of_net_admin,
    kernel_at_least,
    own_cgroup_id,
    sysctl,
    sysctl_set,
)

TCP_MD5SIG, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_MD5SIG_EXT = 14, 23, 30, 32
SO_MAX_PACING_RATE, MSG_FASTOPEN, IFA_F_TENTATIVE = 47, 0x20000000, 0x40
IP_RECVERR, IP_FREEBIND, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT, IP_MULTICAST_LOOP = 11, 15, 19, 24, 34
IP_RECVERR_RFC4884 = 26
OPT_SYN_DATA, OPT_ECN, OPT_ECN_SEEN = 32, 8, 16  # tcpi_options
OPTION_NOT_RECEIVED = 8  # tcpi_accecn_fail_mode
TIMER_KEEPALIVE = 2
NOBODY = 65534


def congestion_controls(zoo: Zoo, family: int) -> None:
    """A listener and a connection with some transfer under each."""
    present = {
        "bbr": ("bbr_bw", "bbr_min_rtt", "bbr_pacing_gain", "bbr_cwnd_gain"),
        "dctcp": ("dctcp_enabled", "dctcp_alpha"),
        "vegas": ("tcpv_enabled", "tcpv_rtt"),
    }
    for name in zoo.controls:
        choose = partial(_choose_control, name=name)
        try:
            listener = zoo.listener(family, prepare=choose)
            caller, accepted = zoo.pair(listener, prepare=choose)
        except OSError as error:
            zoo.missing[f"congestion control {name} {V[family]}"] = str(error)
            continue
        send_through(caller, accepted, 40_000)
        send_through(accepted, caller, 10_000)
        zoo.claim(listener, "LISTEN", f"listener under {name}", equals={"cong": name})
        for end, got in ((caller, 10_000), (accepted, 40_000)):
            zoo.claim(
                end,
                "ESTAB",
                f"connection under {name}",
                equals={"cong": name, "tcpi_bytes_received": got, "idiag_rqueue": 0},
                present=present.get(name, ()),
            )


def _choose_control(of: socket.socket, name: str) -> None:
    of.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())


def classes_and_timers(zoo: Zoo, family: int) -> None:
    """IP_TOS or IPV6_TCLASS, SO_PRIORITY (the class id, where no net_cls sets one), keepalive, pacing, MSS."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the ones with a class")
    tos = [("tos", socket.IPPROTO_IP, socket.IP_TOS, 0x28)]
    if family == socket.AF_INET6:
        tos.append(("tclass", socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48))
    caller, accepted = zoo.pair(listener)
    for _, level, option, value in tos:
        caller.setsockopt(level, option, value)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 5)
    values: dict[str, int | str] = {name: value for name, _, _, value in tos}
    zoo.claim(caller, "ESTAB", "traffic class and priority", equals=values | {"class_id": 5})
    zoo.claim(accepted, "ESTAB", "peer of the one with a traffic class", equals={"tos": 0, "class_id": 0})

    caller, accepted = zoo.pair(listener)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 900)
    keepalive = {"idiag_timer": TIMER_KEEPALIVE}
    zoo.claim(caller, "ESTAB", "keepalive in 900 s", equals=keepalive, at_least={"idiag_expires": 800_000})
    zoo.claim(accepted, "ESTAB", "no timer", equals={"idiag_timer": 0, "idiag_expires": 0})

    caller, accepted = zoo.pair(listener, prepare=_small_segments)
    caller.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 1_000_000)
    mss = 600 if sysctl("net.ipv4.tcp_timestamps") == "0" else 588  # timestamps take 12 bytes of each segment
    zoo.claim(caller, "ESTAB", "paced, small segments", equals={"tcpi_max_pacing_rate": 1_000_000, "tcpi_advmss": mss})
    zoo.claim(accepted, "ESTAB", "peer with small segments")

    cgroup = own_cgroup_id()
    if cgroup is None:
        zoo.missing[f"cgroup {V[family]}"] = "no cgroup2 mount shows this process's cgroup"
    caller, accepted = zoo.pair(listener)
    for end in (caller, accepted):
        zoo.claim(end, "ESTAB", "cgroup of this process", equals={} if cgroup is None else {"cgroup_id": cgroup})


def other_owner(zoo: Zoo, family: int) -> None:
    """Sockets of another user than root."""
    if os.geteuid() != 0:
        raise Unavailable("needs root, to be another user for a while")
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "root's listener, called by nobody")
    os.seteuid(NOBODY)
    try:
        ends = zoo.pair(listener)
    finally:
        os.seteuid(0)
    for end in ends:
        zoo.claim(end, "ESTAB", "of nobody", uid=NOBODY)


def paced(zoo: Zoo, family: int) -> None:
    """Sent, and not yet gone: packets that the queue of the interface holds back. The last one, for both families."""
    if family == socket.AF_INET:
        return
    hold_back(zoo)
    for each in (socket.AF_INET, socket.AF_INET6):
        listener = zoo.listener(each)
        zoo.claim(listener, "LISTEN", "listener of the one held back")
        # Small segments: a packet that cannot leave within fq's horizon of 10 s is dropped.
        caller, accepted = zoo.pair(listener, prepare=_small_segments)
        caller.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 1000)
        fill(caller)
        zoo.claim(caller, "ESTAB", "paced, packets wait in the interface's queue", at_least={"skmem_wmem_alloc": 1})
        zoo.claim(accepted, "ESTAB", "peer of the paced one")


def marks(zoo: Zoo, family: int) -> None:
    """SO_MARK, which needs CAP_NET_ADMIN."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener called by a marked one")
    marked = zoo.open(family)
    marked.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x12345678)
    marked.connect(listener.getsockname())
    zoo.claim(marked, "ESTAB", "marked", equals={"mark": 0x12345678})
    zoo.claim(zoo.accept(listener), "ESTAB", "peer of the marked one", equals={"mark": 0})


def _paced(of: socket.socket) -> None:
    """Many packets that leave at a time of their own: fq marks only those that it has had to hold back."""
    _small_segments(of)
    of.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 2_000_000)


def _paced_dctcp(of: socket.socket) -> None:
    _choose_control(of, "dctcp")
    _paced(of)


def _small_segments(of: socket.socket) -> None:
    of.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 600)


def socket_options(zoo: Zoo, family: int) -> None:
    """The bits of INET_DIAG_SOCKOPT (kernel 5.10 and later): a listener and a connection with all that TCP can set."""
    options = {
        "sockopt_recverr": (IP_RECVERR, 1),
        "sockopt_freebind": (IP_FREEBIND, 1),
        "sockopt_bind_address_no_port": (IP_BIND_ADDRESS_NO_PORT, 1),
        "sockopt_mc_loop": (IP_MULTICAST_LOOP, 0),
    }
    if kernel_at_least(5, 9):
        options["sockopt_recverr_rfc4884"] = (IP_RECVERR_RFC4884, 1)
    if capable_of_net_admin():
        options["sockopt_transparent"] = (IP_TRANSPARENT, 1)
    else:
        zoo.missing[f"sockopt_transparent {V[family]}"] = "IP_TRANSPARENT needs CAP_NET_ADMIN"

    def prepare(of: socket.socket) -> None:
        for option, value in options.values():
            of.setsockopt(socket.IPPROTO_IP, option, value)

    values: dict[str, int | str] = {"sockopt_is_icsk": 1, "sockopt_hdrincl": 0}
    values |= {name: value for name, (_, value) in options.items()}
    listener = zoo.listener(family, prepare=prepare)
    zoo.claim(listener, "LISTEN", "socket options on a listener", equals=values)
    caller, accepted = zoo.pair(listener, prepare=prepare)
    zoo.claim(caller, "ESTAB", "socket options", equals=values)
    zoo.claim(accepted, "ESTAB", "peer of the one with socket options")
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "no socket options", equals={"sockopt_recverr": 0, "sockopt_mc_loop": 1})


def interfaces(zoo: Zoo, family: int) -> None:
    """Bound to an interface; link-local addresses with their scope."""
    loopback = socket.if_nametoindex("lo")
    listener = zoo.listener(family, prepare=lambda of: of.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo"))
    zoo.claim(listener, "LISTEN", "listener bound to lo", equals={"idiag_if": loopback})
    caller, accepted = zoo.pair(listener)
    zoo.claim(caller, "ESTAB", "connected to a listener bound to lo", equals={"idiag_if": 0})
    zoo.claim(accepted, "ESTAB", "accepted by a listener bound to lo", equals={"idiag_if": loopback})
    if family == socket.AF_INET:
        return
    found = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    ready = [fields for fields in found if fields[3] == "20" and not int(fields[4], 16) & IFA_F_TENTATIVE]
    linked = [fields for fields in ready if fields[5] == INTERFACE] or ready
    if not linked:
        raise Unavailable("no interface has a link-local address")
    address = socket.inet_ntop(family, bytes.fromhex(linked[0][0]))
    index = int(linked[0][1], 16)
    listener = zoo.open(family)
    listener.bind((address, 0, 0, index))
    listener.listen(4)
    zoo.claim(listener, "LISTEN", "link-local listener", equals={"idiag_if": index})
    for end in zoo.pair(listener):
        zoo.claim(end, "ESTAB", "link-local", equals={"idiag_if": index})


def congestion_notification(zoo: Zoo, family: int) -> None:
    """A connection that negotiated ECN."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the ECN ones")
    with sysctl_set(zoo, "net.ipv4.tcp_ecn", "1"):
        ends = zoo.pair(listener)
        send_through(*ends, 5000)
        zoo.claim(ends[0], "ESTAB", "ECN", bits={"tcpi_options": OPT_ECN})
        zoo.claim(ends[1], "ESTAB", "ECN, seen", bits={"tcpi_options": OPT_ECN | OPT_ECN_SEEN})


def congestion_experienced(zoo: Zoo, family: int) -> None:
    """ECN connections whose every packet was marked on the way, under the usual congestion control and dctcp."""
    listener = zoo.listener(family)
    with sysctl_set(zoo, "net.ipv4.tcp_ecn", "1"), congested(zoo):
        zoo.claim(listener, "LISTEN", "listener of the marked ECN one")
        marked = zoo.pair(listener, prepare=_paced)
        send_through(*marked, 100_000)
        zoo.claim(marked[0], "ESTAB", "ECN, marked by the network", at_least={"tcpi_delivered_ce": 1})
        zoo.claim(marked[1], "ESTAB", "ECN, got marked packets", bits={"tcpi_options": OPT_ECN | OPT_ECN_SEEN})
        if "dctcp" not in zoo.controls:
            raise Unavailable("under dctcp: this kernel has no dctcp")
        listener = zoo.listener(family, prepare=_paced_dctcp)
        marked = zoo.pair(listener, prepare=_paced_dctcp)
        send_through(*marked, 100_000)
        zoo.claim(listener, "LISTEN", "listener under dctcp of the marked one")
        delivered = {"tcpi_delivered_ce": 1, "dctcp_alpha": 1}
        zoo.claim(marked[0], "ESTAB", "dctcp, marked by the network", equals={"dctcp_enabled": 1}, at_least=delivered)
        zoo.claim(marked[1], "ESTAB", "dctcp, got marked packets", equals={"dctcp_enabled": 1, "dctcp_ce_state": 1})


def accurate_ecn(zoo: Zoo, family: int) -> None:
    """Connections that negotiated accurate ECN, where the kernel has it: with marks and without, and half open."""
    if not sysctl("net.ipv4.tcp_ecn_option"):
        raise Unavailable("this kernel has no accurate ECN")  # and may take any number for tcp_ecn
    with sysctl_set(zoo, "net.ipv4.tcp_ecn", "3"):
        listener, full = zoo.listener(family), zoo.listener(family, backlog=0)
        zoo.claim(listener, "LISTEN", "listener of the accurate ECN ones")
        sends, receives = zoo.pair(listener)
        send_through(sends, receives, 50_000)
        send_through(receives, sends, 20_000)
        for end, sent, got in ((sends, 50_000, 20_000), (receives, 20_000, 50_000)):
            counted = {"tcpi_delivered_e0_bytes": sent, "tcpi_received_e0_bytes": got, "tcpi_accecn_opt_seen": 1}
            zoo.claim(end, "ESTAB", "accurate ECN", bits={"tcpi_options": OPT_ECN}, at_least=counted)
        first = zoo.open(family)
        first.connect(full.getsockname())
        zoo.claim(full, "LISTEN", "listener with a full queue, asked for accurate ECN")
        zoo.claim(first, "ESTAB", "accurate ECN, the queue is full with it")
        zoo.claim_unheld("ESTAB", "accurate ECN, fills the queue", first)
        call_in_vain(zoo, full, "asked for accurate ECN in vain")
        with sysctl_set(zoo, "net.ipv4.tcp_ecn_option", "0"):
            # Without the option, a sender gives up on it after 8 MB: tcp_accecn_process_option.
            sends, receives = zoo.pair(listener)
            send_through(sends, receives, 9_000_000)
            failed = {"tcpi_accecn_fail_mode": OPTION_NOT_RECEIVED, "tcpi_accecn_opt_seen": 3}
            zoo.claim(sends, "ESTAB", "accurate ECN, no option comes back", equals={**failed})
            zoo.claim(receives, "ESTAB", "accurate ECN, sends no option", equals={"tcpi_bytes_received": 9_000_000})
        with congested(zoo):
            sends, receives = zoo.pair(listener, prepare=_paced)
            send_through(sends, receives, 50_000)
            zoo.claim(sends, "ESTAB", "accurate ECN, marked", at_least={"tcpi_delivered_ce_bytes": 1000})
            at_least = {"tcpi_received_ce": 1, "tcpi_received_ce_bytes": 1000}
            zoo.claim(receives, "ESTAB", "accurate ECN, got marked packets", at_least=at_least)


def fast_open(zoo: Zoo, family: int) -> None:
    """Data in the SYN, and a socket whose connect waits for the first write (SYN-SENT without a SYN)."""
    if int(sysctl("net.ipv4.tcp_fastopen") or 0) & 3 != 3:
        raise Unavailable("net.ipv4.tcp_fastopen does not allow both sides")
    listener = zoo.listener(family, prepare=lambda of: of.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16))
    zoo.claim(listener, "LISTEN", "listener with TCP_FASTOPEN")
    for shows, bits in (("asked for a fast open cookie", 0), ("data in the SYN", OPT_SYN_DATA)):
        caller = zoo.open(family)
        caller.setblocking(True)  # one with a timeout does not wait for the connection
        caller.sendto(b"first", MSG_FASTOPEN, listener.getsockname())
        accepted = zoo.accept(listener)
        accepted.recv(5)
        zoo.claim(caller, "ESTAB", shows, bits={"tcpi_options": bits})
        zoo.claim(accepted, "ESTAB", f"peer {shows}", equals={"tcpi_bytes_received": 5}, bits={"tcpi_options": bits})
    waits = zoo.open(family)
    waits.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    waits.connect(listener.getsockname())
    peer = address_of(listener.getsockname())
    zoo.claim(waits, "SYN-SENT", "fast open waits for the first write", peer=peer, equals={"sockopt_defer_connect": 1})


def md5_signatures(zoo: Zoo, family: int) -> None:
    """TCP MD5 keys (RFC 2385): two on a listener, one for a prefix; one at each end of a connection."""
    host = 32 if family == socket.AF_INET else 128
    other = "192.0.2.0" if family == socket.AF_INET else "2001:db8:1::"
    present = ("md5sig",) if capable_of_net_admin() else ()
    if not present:
        zoo.missing[f"md5sig {V[family]}"] = "the kernel shows the keys only to CAP_NET_ADMIN"

    def prepare(of: socket.socket) -> None:
        _sign(of, LOOPBACK[family], host, b"zoo")

    def prepare_more(of: socket.socket) -> None:
        prepare(of)
        _sign(of, other, host - 8, b"a longer key of forty bytes ............")

    listener = zoo.listener(family, prepare=prepare_more)
    caller, accepted = zoo.pair(listener, prepare=prepare)
    send_through(caller, accepted, 3000)
    zoo.claim(listener, "LISTEN", "listener with two MD5 keys", present=present)
    for end in (caller, accepted):
        zoo.claim(end, "ESTAB", "MD5 signatures", present=present)


def _sign(of: socket.socket, address: str, prefix: int, key: bytes) -> None:
    """``struct tcp_md5sig`` (include/uapi/linux/tcp.h): sockaddr_storage, flags, prefix, length, ifindex, key[80]."""
    packed = socket.inet_pton(of.family, address)
    where = struct.pack("=HH", of.family, 0) + (packed if of.family == socket.AF_INET else bytes(4) + packed)
    host = len(packed) * 8
    option, flags = (TCP_MD5SIG, 0) if prefix == host else (TCP_MD5SIG_EXT, 1)
    of.setsockopt(
        socket.IPPROTO_TCP, option, struct.pack("=128sBBHi80s", where, flags, prefix if flags else 0, len(key), 0, key)
    )


def mptcp(zoo: Zoo, family: int) -> None:
    """An MPTCP connection, its first subflow, and a second one where the namespace is ours to add an endpoint."""
    try:
        listener = zoo.listener(family, protocol=IPPROTO_MPTCP)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            raise Unavailable("this kernel has no MPTCP (CONFIG_MPTCP)") from error
        raise
    caller, accepted = zoo.pair(listener, protocol=IPPROTO_MPTCP)
    send_through(caller, accepted, 3000)
    send_through(accepted, caller, 500)
    zoo.claim(listener, "LISTEN", "MPTCP listener")
    zoo.claim(caller, "ESTAB", "MPTCP connection", present=("mptcpi_token",))
    zoo.claim(accepted, "ESTAB", "MPTCP connection, accepted end", present=("mptcpi_token",))
    here, there = address_of(caller.getsockname()), address_of(caller.getpeername())
    ends = [(here, there, "first MPTCP subflow"), (there, here, "first MPTCP subflow, accepted end")]
    if zoo.own_namespace:
        deadline = time.monotonic() + 0.5
        second: list[Key] = []
        while not second and time.monotonic() < deadline:
            second = [key for key in states_now() if key[1][0] == SECOND[family] and key[2] == there]
            time.sleep(0.01)
        if second:
            here = second[0][1]
            ends += [(here, there, "joined MPTCP subflow"), (there, here, "joined MPTCP subflow, accepted end")]
        else:
            zoo.missing[f"joined MPTCP subflow {V[family]}"] = "the endpoint made no subflow in 0.5 s"
    else:
        zoo.missing[f"joined MPTCP subflow {V[family]}"] = "needs an endpoint, and this namespace is not ours alone"
    for local, peer, shows in ends:
        zoo.expected.append(Expected(shows, "ESTAB", family, local, peer, equals={"ulp_name": "mptcp"}))
    local = address_of(listener.getsockname())
    zoo.expected.append(Expected("TCP listener below the MPTCP one", "LISTEN", family, local, ANY[listener.family]))
