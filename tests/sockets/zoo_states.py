"""Exhibits of the TCP states, of queues, windows and losses.

Each opens its sockets in one address family and writes them down in the zoo. None of them drops a packet on the way:
full windows, full queues and socket filters bring every state about.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import time
from functools import partial

from tests.sockets.zoo_keeping import ANY, LOOPBACK, Unavailable, Zoo, address_of
from tests.sockets.zoo_surroundings import kernel_at_least

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
TIMER_ON, TIMER_TIMEWAIT, TIMER_PERSIST = 1, 3, 4
TOTAL_RETRANS, DSACK_DUPS = 100, 216  # offsets in tcp_info


def listeners(zoo: Zoo, family: int) -> None:
    """A plain one, one with connections to accept, one on all addresses."""
    plain = zoo.listener(family, backlog=77)
    zoo.claim(plain, "LISTEN", "listener with a backlog of 77", equals={"idiag_rqueue": 0, "idiag_wqueue": 77})
    queue = zoo.listener(family, backlog=5)
    for _ in range(3):
        caller = zoo.open(family)
        caller.connect(queue.getsockname())
        zoo.claim(caller, "ESTAB", "connected, the other end waits to be accepted")
        zoo.claim_unheld("ESTAB", "waits to be accepted, has no file", caller)
    zoo.claim(queue, "LISTEN", "listener with three to accept", equals={"idiag_rqueue": 3, "idiag_wqueue": 5})
    anyone = zoo.listener(family, address=ANY[family][0], prepare=_six_only if family == socket.AF_INET6 else None)
    only = {"skv6only": 1} if family == socket.AF_INET6 else {}
    zoo.claim(anyone, "LISTEN", "listener on all addresses of this family", equals=only)


def _six_only(of: socket.socket) -> None:
    of.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def v4_mapped(zoo: Zoo, family: int) -> None:
    """An IPv6 listener for both families and an IPv4 connection to it; an IPv6 socket that calls an IPv4 listener."""
    if family == socket.AF_INET:
        return
    dual = zoo.open(family)
    dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    dual.bind(("::", 0))
    dual.listen(4)
    zoo.claim(dual, "LISTEN", "listener for IPv6 and IPv4", equals={"skv6only": 0})
    caller = zoo.open(socket.AF_INET)
    caller.connect((LOOPBACK[socket.AF_INET], dual.getsockname()[1]))
    zoo.claim_both((caller, zoo.accept(dual)), "IPv4 to an IPv6 listener")
    old = zoo.listener(socket.AF_INET)
    zoo.claim(old, "LISTEN", "listener called by an IPv6 socket")
    mapped = zoo.open(family)
    mapped.connect((f"::ffff:{LOOPBACK[socket.AF_INET]}", old.getsockname()[1]))
    zoo.claim_both((mapped, zoo.accept(old)), "IPv6 socket to an IPv4 listener")


def transfers(zoo: Zoo, family: int) -> None:
    """Counters beyond 16 bits in both directions, data not read, data not sent."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the transfers")
    caller, accepted = zoo.pair(listener)
    send_through(caller, accepted, 5_000_000)
    send_through(accepted, caller, 1_000_000)
    for end, sent, got in ((caller, 5_000_000, 1_000_000), (accepted, 1_000_000, 5_000_000)):
        zoo.claim(
            end,
            "ESTAB",
            "long transfer",
            equals={"tcpi_bytes_received": got, "idiag_rqueue": 0},
            at_least={"tcpi_bytes_acked": sent, "tcpi_segs_out": sent // 65536, "tcpi_segs_in": 2},
        )
    caller, accepted = zoo.pair(listener)
    caller.send(b"x" * 777)
    zoo.claim(caller, "ESTAB", "sent 777 bytes")
    zoo.claim(accepted, "ESTAB", "777 bytes not read", equals={"idiag_rqueue": 777, "tcpi_bytes_received": 777})


def windows_full(zoo: Zoo, family: int) -> None:
    """The receiver does not read: the persist timer runs, and bytes wait at both ends."""
    listener = zoo.listener(family, prepare=small_receive_buffer)
    zoo.claim(listener, "LISTEN", "listener with a small receive buffer")
    caller, accepted = zoo.pair(listener)
    fill(caller)
    zoo.claim(
        caller,
        "ESTAB",
        "peer's window is full: data not sent, persist timer",
        equals={"idiag_timer": TIMER_PERSIST},
        at_least={"idiag_wqueue": 1, "tcpi_notsent_bytes": 1, "skmem_wmem_queued": 1},
    )
    zoo.claim(accepted, "ESTAB", "window full", at_least={"idiag_rqueue": 1, "skmem_rmem_alloc": 1})

    caller, accepted = zoo.pair(listener)
    fill(caller)
    deafen(accepted)
    shows = "peer's window is full, and probes are not answered"
    zoo.claim(caller, "ESTAB", shows, equals={"idiag_timer": TIMER_PERSIST}, at_least={"tcpi_probes": 1})
    zoo.until(shows, partial(_has_probed, caller))
    zoo.claim(accepted, "ESTAB", "window full, does not hear the probes", at_least={"skmem_drops": 1})

    caller, accepted = zoo.pair(listener)
    fill(caller)
    caller.shutdown(socket.SHUT_WR)
    zoo.claim(caller, "FIN-WAIT-1", "shut for writing behind data not sent", at_least={"idiag_wqueue": 1})
    zoo.claim(accepted, "ESTAB", "peer's FIN waits behind a full window", at_least={"idiag_rqueue": 1})

    caller, accepted = zoo.pair(listener)
    fill(caller)
    caller.shutdown(socket.SHUT_WR)
    accepted.shutdown(socket.SHUT_WR)
    zoo.claim(caller, "CLOSING", "both shut, our FIN waits behind a full window", at_least={"idiag_wqueue": 1})
    zoo.claim(accepted, "FIN-WAIT-2", "shut for writing, window full", at_least={"idiag_rqueue": 1})

    caller, accepted = zoo.pair(listener)
    fill(caller)
    accepted.shutdown(socket.SHUT_WR)
    time.sleep(0.001)
    caller.shutdown(socket.SHUT_WR)
    zoo.claim(caller, "LAST-ACK", "peer shut first, our FIN behind a full window", at_least={"idiag_wqueue": 1})
    zoo.claim(accepted, "FIN-WAIT-2", "shut first, window full", at_least={"idiag_rqueue": 1})


def closing_states(zoo: Zoo, family: int) -> None:
    """What is left of connections that one end or both have closed."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the closing ones")
    caller, accepted = zoo.pair(listener)
    caller.shutdown(socket.SHUT_WR)
    zoo.claim(caller, "FIN-WAIT-2", "shut for writing", equals={"shutdown": 2})
    zoo.claim(accepted, "CLOSE-WAIT", "peer has shut for writing", equals={"shutdown": 1, "idiag_rqueue": 1})

    caller, accepted = zoo.pair(listener)
    caller.shutdown(socket.SHUT_RD)
    zoo.claim(caller, "ESTAB", "shut for reading", equals={"shutdown": 1})
    zoo.claim(accepted, "ESTAB", "peer has shut for reading", equals={"shutdown": 0})

    caller, accepted = zoo.pair(listener)
    zoo.claim(caller, "FIN-WAIT-2", "closed, kept as a small TIME-WAIT socket", orphan=True)
    zoo.claim(accepted, "CLOSE-WAIT", "peer has closed", equals={"shutdown": 1})
    zoo.drop(caller)

    for _ in range(3):
        caller, accepted = zoo.pair(listener)
        zoo.claim(caller, "TIME-WAIT", "closed first", orphan=True, equals={"idiag_timer": TIMER_TIMEWAIT})
        zoo.drop(caller, accepted)


def opening_states(zoo: Zoo, family: int) -> None:
    """SYN-SENT to a listener whose queue is full, SYN-RECV at one that waits for data."""
    full = zoo.listener(family, backlog=0)
    first = zoo.open(family)
    first.connect(full.getsockname())
    zoo.claim(first, "ESTAB", "connected, the queue is full with it")
    zoo.claim_unheld("ESTAB", "fills the queue", first)
    call_in_vain(zoo, full, "the listener's queue is full")
    zoo.claim(full, "LISTEN", "listener with a full queue", equals={"idiag_rqueue": 1, "idiag_wqueue": 0})

    waits = zoo.listener(family, prepare=_defer_accept)
    caller = zoo.open(family)
    caller.connect(waits.getsockname())
    zoo.claim(waits, "LISTEN", "listener with TCP_DEFER_ACCEPT")
    zoo.claim(caller, "ESTAB", "has sent nothing to a listener with TCP_DEFER_ACCEPT")
    zoo.claim_unheld("SYN-RECV", "waits for data before it is a connection", caller)


def call_in_vain(zoo: Zoo, full: socket.socket, shows: str) -> None:
    """SYN-SENT to a listener whose queue is full."""
    caller = zoo.open(full.family)
    caller.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        caller.connect(full.getsockname())
    peer = address_of(full.getsockname())
    zoo.claim(caller, "SYN-SENT", shows, peer=peer, equals={"idiag_timer": TIMER_ON})


def _defer_accept(of: socket.socket) -> None:
    of.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 120)


def bound_inactive(zoo: Zoo, family: int) -> None:
    """Bound, neither listening nor connected."""
    if not kernel_at_least(6, 8):
        raise Unavailable("dumped by kernel 6.8 and later only")
    bound = zoo.open(family)
    bound.bind((LOOPBACK[family], 0))
    zoo.claim(bound, "UNCONN", "bound only", bound_inactive=True)


def losses(zoo: Zoo, family: int) -> None:
    """Retransmits into silence; a segment lost and sent again; a FIN lost. Some kernels keep the filter for root."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the lossy ones")
    caller, accepted = zoo.pair(listener)
    send_through(caller, accepted, 1000)
    deafen(accepted)
    for _ in range(3):
        caller.send(b"x" * 500)
    shows = "retransmits, nothing comes back"
    zoo.claim(
        caller,
        "ESTAB",
        shows,
        equals={"idiag_timer": TIMER_ON, "idiag_wqueue": 1500},
        at_least={"tcpi_total_retrans": 2, "tcpi_unacked": 1, "tcpi_backoff": 1, "tcpi_lost": 1, "idiag_retrans": 1},
    )
    zoo.until(shows, partial(info_reaches, caller, TOTAL_RETRANS, 2))
    zoo.claim(accepted, "ESTAB", "drops all it gets", at_least={"skmem_drops": 2})

    lost, found = zoo.pair(listener)
    lost.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    deafen(found)
    lost.send(b"x" * 700)
    undeafen(found)
    for _ in range(4):
        lost.send(b"y" * 700)
    got = 0
    while got < 3500:
        got += len(found.recv(3500))
    zoo.claim(
        lost,
        "ESTAB",
        "a segment was lost and sent again",
        at_least={"tcpi_total_retrans": 1, "tcpi_bytes_retrans": 700},
    )
    zoo.claim(found, "ESTAB", "got a segment late", equals={"tcpi_bytes_received": 3500}, at_least={"skmem_drops": 1})

    repeats, got_all = zoo.pair(listener)
    deafen(repeats)  # the acknowledgement is lost, not the data: what is sent again is a duplicate
    repeats.send(b"z" * 900)
    shows = "sent again what had come"
    deadline = time.monotonic() + 1
    while not info(repeats, TOTAL_RETRANS) and time.monotonic() < deadline:
        time.sleep(0.005)
    undeafen(repeats)
    zoo.claim(repeats, "ESTAB", shows, at_least={"tcpi_dsack_dups": 1, "tcpi_total_retrans": 1})
    zoo.until(shows, partial(info_reaches, repeats, DSACK_DUPS, 1))
    zoo.claim(got_all, "ESTAB", "got the same twice", equals={"tcpi_bytes_received": 900})

    caller, accepted = zoo.pair(listener)
    deafen(accepted)
    zoo.claim(caller, "FIN-WAIT-1", "closed, the FIN is lost", orphan=True, equals={"idiag_timer": TIMER_ON})
    zoo.claim(accepted, "ESTAB", "did not hear the FIN")
    zoo.drop(caller)


def info(of: socket.socket, offset: int) -> int:
    """A u32 of tcp_info by getsockopt (include/uapi/linux/tcp.h), 0 where the kernel's is shorter."""
    told = of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4)
    return int(struct.unpack_from("=I", told, offset)[0]) if len(told) == offset + 4 else 0


def _has_probed(of: socket.socket) -> bool:
    """Whether tcpi_probes, the fourth byte, is not 0."""
    return bool(of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 4)[3])


def info_reaches(of: socket.socket, offset: int, value: int) -> bool:
    """Whether that member of tcp_info has come so far."""
    return info(of, offset) >= value


def send_through(sender: socket.socket, receiver: socket.socket, size: int) -> None:
    """``size`` bytes from one end to the other, all of them read."""
    block = bytes(65536)
    while size:
        sent = sender.send(block[: min(size, len(block), 16384)])
        size -= sent
        while sent:
            sent -= len(receiver.recv(sent))


def fill(sender: socket.socket) -> None:
    """Writes until the peer's window and our send queue are full."""
    sender.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sender.send(bytes(65536))
    sender.settimeout(2.0)


def deafen(of: socket.socket) -> None:
    """The socket drops every segment it gets (a socket filter of one instruction: return 0); needs no privilege."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0))  # struct sock_filter: BPF_RET | BPF_K, 0
    of.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def undeafen(of: socket.socket) -> None:
    """The end of ``deafen``."""
    of.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def small_receive_buffer(of: socket.socket) -> None:
    """A receive window that fills soon."""
    of.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
