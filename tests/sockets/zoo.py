"""What can a TCP socket look like? Opens one of everything that this kernel has, IPv4 and IPv6, and says what it is.

In: nothing but the current network namespace. Out: a ``Zoo`` with the sockets, a record for each of them that a test
may rely on, and what could not be had and why. The records come from what was set, from ``getsockopt`` and from
/proc/net/tcp, never from netlink. Deterministic in what it holds (ports are the kernel's choice), ready in under three
seconds, as it says for 30 seconds: then orphans, SYN-SENT and SYN-RECV begin to time out.

As a plain user in any namespace it opens what needs no privilege and changes no setting. With ``own_namespace=True``
(root, and nothing else in the namespace) it also adds an interface, a second loopback address and an MPTCP endpoint,
and switches TCP Fast Open and, for single connections, ECN on.

``python -m sockets.zoo`` (with tests/ on the path) prints the list; imports nothing of this project.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

TCP_MD5SIG, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_ULP, TCP_MD5SIG_EXT = 14, 23, 30, 31, 32
SO_DETACH_FILTER, SO_ATTACH_FILTER, SO_MAX_PACING_RATE, SO_COOKIE = 27, 26, 47, 57
IP_RECVERR, IP_FREEBIND, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT, IP_MULTICAST_LOOP = 11, 15, 19, 24, 34
SOL_TLS, TLS_TX, TLS_RX, IPPROTO_MPTCP, MSG_FASTOPEN = 282, 1, 2, 262, 0x20000000
OPT_SYN_DATA, OPT_ECN, OPT_ECN_SEEN = 32, 8, 16
IFA_F_TENTATIVE = 0x40
TIMER_ON, TIMER_KEEPALIVE, TIMER_TIMEWAIT, TIMER_PERSIST = 1, 2, 3, 4

Address = tuple[str, int]
Key = tuple[int, Address, Address]

INTERFACE: Final = "zoo0"
SECOND: Final[Mapping[int, str]] = {socket.AF_INET: "127.0.0.2", socket.AF_INET6: "2001:db8::2"}
MORE_CONTROLS: Final = ("bbr", "dctcp", "vegas", "westwood", "htcp", "illinois")

_V: Final[Mapping[int, str]] = {socket.AF_INET: "v4", socket.AF_INET6: "v6"}
_LOOPBACK: Final[Mapping[int, str]] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
_ANY: Final[Mapping[int, Address]] = {socket.AF_INET: ("0.0.0.0", 0), socket.AF_INET6: ("::", 0)}
_STATES: Final = (
    "?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK",
    "LISTEN", "CLOSING", "SYN-RECV",
)  # fmt: skip
_SETTLED_AFTER: Final = 1.5


@dataclass(frozen=True, slots=True)
class Expected:
    """What a row of a dump must say of one socket; names are those of the columns.

    ``state`` is ss's name. ``cookie`` is None where no descriptor of ours ever stood for the socket, ``inode`` is 0
    where it has no file, ``uid`` is None where the kernels differ. ``present`` columns have some value, ``bits`` are
    set among others. ``mark`` and ``md5sig`` show only to a reader with CAP_NET_ADMIN. ``bound_inactive`` rows come
    only to one who asks for that state (kernel 6.8 and later). ``protocol`` 262 rows come only from a dump of MPTCP.
    """

    shows: str
    state: str
    family: int
    local: Address
    peer: Address
    protocol: int = socket.IPPROTO_TCP
    cookie: int | None = None
    inode: int | None = None
    uid: int | None = None
    bound_inactive: bool = False
    equals: Mapping[str, int | str] = field(default_factory=dict)
    at_least: Mapping[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    present: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Family and both ends."""
        return self.family, self.local, self.peer


class Zoo:
    """The sockets, what they show, and what is missing: ``missing[exhibit]`` is the reason. A context manager."""

    def __init__(self, own_namespace: bool) -> None:
        self.own_namespace = own_namespace
        self.sockets: list[socket.socket] = []
        self.expected: list[Expected] = []
        self.missing: dict[str, str] = {}
        self.controls: tuple[str, ...] = ()
        self.conditions: list[tuple[str, Callable[[], bool]]] = []
        self.undo: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all sockets and takes back what was set up; TIME-WAIT rows stay as long as the kernel keeps them."""
        while self.sockets:
            self.sockets.pop().close()
        while self.undo:
            self.undo.pop()()

    def told(self) -> tuple[list[Expected], dict[str, str]]:
        """``expected`` and ``missing``: what goes to another process."""
        return self.expected, self.missing

    def open(self, family: int, protocol: int = 0) -> socket.socket:
        """A socket that lives until ``close``."""
        opened = socket.socket(family, socket.SOCK_STREAM, protocol)
        opened.settimeout(2.0)
        self.sockets.append(opened)
        return opened

    def drop(self, *closing: socket.socket) -> None:
        """Closes these at once."""
        for each in closing:
            self.sockets.remove(each)
            each.close()

    def listener(
        self, family: int, *, backlog: int = 16, protocol: int = 0, prepare: Prepare | None = None, address: str = ""
    ) -> socket.socket:
        """A listener on the loopback address, prepared before it is bound; not yet in ``expected``."""
        opened = self.open(family, protocol)
        if prepare:
            prepare(opened)
        opened.bind((address or _LOOPBACK[family], 0))
        opened.listen(backlog)
        return opened

    def pair(
        self, listener: socket.socket, *, protocol: int = 0, prepare: Prepare | None = None, address: str = ""
    ) -> tuple[socket.socket, socket.socket]:
        """A connection to the listener: the end that connected, prepared before, and the one that was accepted."""
        caller = self.open(listener.family, protocol)
        if prepare:
            prepare(caller)
        target = listener.getsockname()
        caller.connect((address, *target[1:]) if address else target)
        return caller, self.accept(listener)

    def accept(self, listener: socket.socket) -> socket.socket:
        """Takes one connection from the listener."""
        accepted, _ = listener.accept()
        accepted.settimeout(2.0)
        self.sockets.append(accepted)
        return accepted

    def claim(
        self,
        of: socket.socket,
        state: str,
        shows: str,
        *,
        peer: Address | None = None,
        orphan: bool = False,
        bound_inactive: bool = False,
        equals: Mapping[str, int | str] | None = None,
        at_least: Mapping[str, int] | None = None,
        bits: Mapping[str, int] | None = None,
        present: tuple[str, ...] = (),
    ) -> None:
        """Writes down what the socket is, now or soon; ``orphan`` if it is to be closed before the zoo is ready."""
        if peer is None:
            peer = _ANY[of.family] if state in ("LISTEN", "UNCONN") else address_of(of.getpeername())
        self.expected.append(
            Expected(
                shows,
                state,
                int(of.family),
                address_of(of.getsockname()),
                peer,
                protocol=IPPROTO_MPTCP if of.proto == IPPROTO_MPTCP else socket.IPPROTO_TCP,
                cookie=cookie_of(of),
                inode=0 if orphan else os.fstat(of.fileno()).st_ino,
                uid=None if orphan else os.geteuid(),
                bound_inactive=bound_inactive,
                equals=equals or {},
                at_least=at_least or {},
                bits=bits or {},
                present=present,
            )
        )

    def claim_both(self, ends: tuple[socket.socket, socket.socket], shows: str) -> None:
        """Both ends of a plain connection."""
        for end, side in zip(ends, ("connected", "accepted"), strict=True):
            self.claim(end, "ESTAB", f"{shows}, {side} end")

    def claim_unheld(self, state: str, shows: str, caller: socket.socket) -> None:
        """The other end of ``caller``, for which no descriptor stands (queued, half open)."""
        family, local, peer = int(caller.family), address_of(caller.getpeername()), address_of(caller.getsockname())
        self.expected.append(Expected(shows, state, family, local, peer, inode=0))

    def until(self, shows: str, condition: Callable[[], bool]) -> None:
        """What must come true before the zoo is ready."""
        self.conditions.append((shows, condition))


Prepare = Callable[[socket.socket], object]
Exhibit = Callable[[Zoo, int], None]


def open_zoo(own_namespace: bool = False) -> Zoo:
    """One of everything; see the module for what ``own_namespace`` permits. Never raises for what a kernel lacks."""
    zoo = Zoo(own_namespace)
    try:
        if own_namespace:
            _furnish(zoo)
        zoo.controls = _controls(zoo)
        for family in (socket.AF_INET, socket.AF_INET6):
            for exhibit in EXHIBITS:
                opened, claimed = len(zoo.sockets), len(zoo.expected)
                try:
                    exhibit(zoo, family)
                except Unavailable as error:
                    zoo.missing[f"{exhibit.__name__} {_V[family]}"] = str(error)
                except OSError as error:
                    zoo.missing[f"{exhibit.__name__} {_V[family]}"] = str(error)
                    zoo.drop(*zoo.sockets[opened:])
                    del zoo.expected[claimed:]
        _settle(zoo)
    except BaseException:
        zoo.close()
        raise
    return zoo


class Unavailable(Exception):
    """The rest of this exhibit cannot be had here; the text is the reason. What was opened before it stays."""


# ---------------------------------------------------------------------------------------------------- what sockets say


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Address and port without the scope that Python writes behind a link-local address."""
    return name[0].partition("%")[0], name[1]


def cookie_of(of: socket.socket) -> int:
    """SO_COOKIE, the number that ``idiag_cookie`` shows."""
    cookie: int = struct.unpack("=Q", of.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
    return cookie


def total_retransmitted(of: socket.socket) -> int:
    """tcpi_total_retrans by getsockopt (include/uapi/linux/tcp.h: offset 100)."""
    total: int = struct.unpack_from("=I", of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
    return total


def states_now() -> dict[Key, str]:
    """Every TCP socket of this namespace by /proc/net/tcp and tcp6 (bound-inactive and MPTCP ones are not there)."""
    found = {}
    for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        path = Path("/proc/net", file)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, peer, state, *_ = line.split()
            found[(int(family), _proc_address(family, local), _proc_address(family, peer))] = _STATES[int(state, 16)]
    return found


def _proc_address(family: int, text: str) -> Address:
    words, _, port = text.partition(":")
    raw = b"".join(int(words[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(words), 8))
    return socket.inet_ntop(family, raw), int(port, 16)


def _settle(zoo: Zoo) -> None:
    """Waits until all is as claimed; what is not in time goes from ``expected`` to ``missing``."""
    deadline = time.monotonic() + _SETTLED_AFTER
    while True:
        now = states_now()
        unseen = {
            each: now.get(each.key, "not there")
            for each in zoo.expected
            if each.protocol == socket.IPPROTO_TCP and not each.bound_inactive and now.get(each.key) != each.state
        }
        unmet = [shows for shows, condition in zoo.conditions if not condition()]
        if not unseen and not unmet:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for each, state in unseen.items():
        zoo.expected.remove(each)
        zoo.missing[f"{each.shows} {_V[each.family]}"] = f"{state} after {_SETTLED_AFTER} s, not {each.state}"
    for shows in unmet:
        zoo.expected = [each for each in zoo.expected if each.shows != shows]
        zoo.missing[shows] = f"not seen within {_SETTLED_AFTER} s"


# ------------------------------------------------------------------------------------------------- what the kernel has


def kernel_at_least(major: int, minor: int) -> bool:
    """Whether the running kernel is of this release or later."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (major, minor)


def capable_of_net_admin() -> bool:
    """Whether CAP_NET_ADMIN (12) is in the effective set."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> 12 & 1)


def own_cgroup_id() -> int | None:
    """The id of this process's cgroup (version 2): the inode of its directory, None where it cannot be seen."""
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in mounted if fields[2] == "cgroup2"]
    paths = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
    if not roots or not paths or not (roots[0] / paths[0]).is_dir():
        return None
    return int((roots[0] / paths[0]).stat().st_ino)


def _sysctl(name: str) -> str:
    path = Path("/proc/sys", *name.split("."))
    return path.read_text().strip() if path.exists() else ""


def _ip(*arguments: str) -> str:
    """Runs ip (iproute2); returns its complaint, empty if there is none."""
    try:
        return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False).stderr.strip()
    except FileNotFoundError:
        return "there is no ip command (iproute2)"


def _controls(zoo: Zoo) -> tuple[str, ...]:
    for name in MORE_CONTROLS if os.geteuid() == 0 else ():
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["modprobe", "-q", f"tcp_{name}"], capture_output=True, check=False)
    found = tuple(_sysctl("net.ipv4.tcp_available_congestion_control").split())
    for name in MORE_CONTROLS:
        if name not in found:
            zoo.missing[f"congestion control {name}"] = "not in tcp_available_congestion_control, nor as a module"
    return found


def _furnish(zoo: Zoo) -> None:
    """What the namespace needs for the exhibits that no bare loopback gives."""
    steps = (
        ("ip link", "link", "add", INTERFACE, "type", "dummy"),
        ("ip link", "link", "set", INTERFACE, "up"),
        ("ip address", "-6", "addr", "add", "fe80::200/64", "dev", INTERFACE, "nodad"),
        ("ip address", "-6", "addr", "add", f"{SECOND[socket.AF_INET6]}/128", "dev", "lo", "nodad"),
        ("ip mptcp", "mptcp", "limits", "set", "subflows", "2"),
        ("ip mptcp", "mptcp", "endpoint", "add", SECOND[socket.AF_INET], "subflow"),
        ("ip mptcp", "mptcp", "endpoint", "add", SECOND[socket.AF_INET6], "subflow"),
    )
    for name, *arguments in steps:
        complaint = _ip(*arguments)
        if complaint and "dummy" in arguments:  # a kernel without dummy interfaces: one end of a veth pair does as well
            complaint = _ip("link", "add", INTERFACE, "type", "veth", "peer", "name", f"{INTERFACE}p")
            _ip("link", "set", f"{INTERFACE}p", "up")
        if complaint and "exist" not in complaint:
            zoo.missing[name] = f"ip {' '.join(arguments)}: {complaint}"
    zoo.undo += [partial(_ip, "link", "del", INTERFACE), partial(_ip, "mptcp", "endpoint", "flush")]
    zoo.undo.append(partial(_ip, "-6", "addr", "del", f"{SECOND[socket.AF_INET6]}/128", "dev", "lo"))
    try:
        zoo.undo.append(partial(_write_sysctl, "net.ipv4.tcp_fastopen", _sysctl("net.ipv4.tcp_fastopen")))
        _write_sysctl("net.ipv4.tcp_fastopen", "3")
    except OSError as error:
        zoo.missing["sysctl tcp_fastopen"] = str(error)


def _write_sysctl(name: str, value: str) -> None:
    Path("/proc/sys", *name.split(".")).write_text(value)


@contextlib.contextmanager
def _sysctl_set(zoo: Zoo, name: str, value: str) -> Iterator[None]:
    if not zoo.own_namespace:
        raise Unavailable(f"needs {name}={value}, and this namespace is not ours alone")
    before = _sysctl(name)
    _write_sysctl(name, value)
    try:
        yield
    finally:
        _write_sysctl(name, before)


# ------------------------------------------------------------------------------------------------------------ transfer


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


# ------------------------------------------------------------------------------------------------------------ exhibits


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
    anyone = zoo.listener(family, address=_ANY[family][0], prepare=_six_only if family == socket.AF_INET6 else None)
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
    caller.connect((_LOOPBACK[socket.AF_INET], dual.getsockname()[1]))
    zoo.claim_both((caller, zoo.accept(dual)), "IPv4 to an IPv6 listener")
    old = zoo.listener(socket.AF_INET)
    zoo.claim(old, "LISTEN", "listener called by an IPv6 socket")
    mapped = zoo.open(family)
    mapped.connect((f"::ffff:{_LOOPBACK[socket.AF_INET]}", old.getsockname()[1]))
    zoo.claim_both((mapped, zoo.accept(old)), "IPv6 socket to an IPv4 listener")


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
            zoo.missing[f"congestion control {name} {_V[family]}"] = str(error)
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

    caller, accepted = zoo.pair(listener)
    deafen(accepted)
    zoo.claim(caller, "FIN-WAIT-1", "closed, the FIN is lost", orphan=True, equals={"idiag_timer": TIMER_ON})
    zoo.claim(accepted, "ESTAB", "did not hear the FIN")
    zoo.drop(caller)


def opening_states(zoo: Zoo, family: int) -> None:
    """SYN-SENT to a listener whose queue is full, SYN-RECV at one that waits for data."""
    full = zoo.listener(family, backlog=0)
    first, second = zoo.open(family), zoo.open(family)
    first.connect(full.getsockname())
    zoo.claim(first, "ESTAB", "connected, the queue is full with it")
    zoo.claim_unheld("ESTAB", "fills the queue", first)
    second.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        second.connect(full.getsockname())
    zoo.claim(
        second,
        "SYN-SENT",
        "the listener's queue is full",
        peer=address_of(full.getsockname()),
        equals={"idiag_timer": TIMER_ON},
    )
    zoo.claim(full, "LISTEN", "listener with a full queue", equals={"idiag_rqueue": 1, "idiag_wqueue": 0})

    waits = zoo.listener(family, prepare=_defer_accept)
    caller = zoo.open(family)
    caller.connect(waits.getsockname())
    zoo.claim(waits, "LISTEN", "listener with TCP_DEFER_ACCEPT")
    zoo.claim(caller, "ESTAB", "has sent nothing to a listener with TCP_DEFER_ACCEPT")
    zoo.claim_unheld("SYN-RECV", "waits for data before it is a connection", caller)


def _defer_accept(of: socket.socket) -> None:
    of.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 120)


def bound_inactive(zoo: Zoo, family: int) -> None:
    """Bound, neither listening nor connected."""
    if not kernel_at_least(6, 8):
        raise Unavailable("dumped by kernel 6.8 and later only")
    bound = zoo.open(family)
    bound.bind((_LOOPBACK[family], 0))
    zoo.claim(bound, "UNCONN", "bound only", bound_inactive=True)


def losses(zoo: Zoo, family: int) -> None:
    """One that retransmits into silence, one that lost a segment and recovered."""
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
    zoo.until(shows, lambda: total_retransmitted(caller) >= 2)
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
    mss = 600 if _sysctl("net.ipv4.tcp_timestamps") == "0" else 588  # timestamps take 12 bytes of each segment
    zoo.claim(caller, "ESTAB", "paced, small segments", equals={"tcpi_max_pacing_rate": 1_000_000, "tcpi_advmss": mss})
    zoo.claim(accepted, "ESTAB", "peer with small segments")

    cgroup = own_cgroup_id()
    if cgroup is None:
        zoo.missing[f"cgroup {_V[family]}"] = "no cgroup2 mount shows this process's cgroup"
    caller, accepted = zoo.pair(listener)
    for end in (caller, accepted):
        zoo.claim(end, "ESTAB", "cgroup of this process", equals={} if cgroup is None else {"cgroup_id": cgroup})


def marks(zoo: Zoo, family: int) -> None:
    """SO_MARK, which needs CAP_NET_ADMIN."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener called by a marked one")
    marked = zoo.open(family)
    marked.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x12345678)
    marked.connect(listener.getsockname())
    zoo.claim(marked, "ESTAB", "marked", equals={"mark": 0x12345678})
    zoo.claim(zoo.accept(listener), "ESTAB", "peer of the marked one", equals={"mark": 0})


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
    if capable_of_net_admin():
        options["sockopt_transparent"] = (IP_TRANSPARENT, 1)
    else:
        zoo.missing[f"sockopt_transparent {_V[family]}"] = "IP_TRANSPARENT needs CAP_NET_ADMIN"

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
    with _sysctl_set(zoo, "net.ipv4.tcp_ecn", "1"):
        ends = zoo.pair(listener)
        send_through(*ends, 5000)
        zoo.claim(ends[0], "ESTAB", "ECN", bits={"tcpi_options": OPT_ECN})
        zoo.claim(ends[1], "ESTAB", "ECN, seen", bits={"tcpi_options": OPT_ECN | OPT_ECN_SEEN})


def accurate_ecn(zoo: Zoo, family: int) -> None:
    """A connection that negotiated accurate ECN, where the kernel has it."""
    listener = zoo.listener(family)
    with _sysctl_set(zoo, "net.ipv4.tcp_ecn", "3"):
        ends = zoo.pair(listener)
        send_through(*ends, 5000)
        zoo.claim(listener, "LISTEN", "listener of the accurate ECN one")
        zoo.claim_both(ends, "accurate ECN")


def fast_open(zoo: Zoo, family: int) -> None:
    """Data in the SYN, and a socket whose connect waits for the first write (SYN-SENT without a SYN)."""
    if int(_sysctl("net.ipv4.tcp_fastopen") or 0) & 3 != 3:
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
        zoo.missing[f"md5sig {_V[family]}"] = "the kernel shows the keys only to CAP_NET_ADMIN"

    def prepare(of: socket.socket) -> None:
        _sign(of, _LOOPBACK[family], host, b"zoo")

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


def tls(zoo: Zoo, family: int) -> None:
    """Kernel TLS 1.2 with AES-128-GCM, one end sending and the other receiving."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the TLS ones")
    caller, accepted = zoo.pair(listener)
    try:
        caller.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    except FileNotFoundError:
        zoo.claim_both((caller, accepted), "without TLS")
        raise Unavailable("this kernel has no TLS (CONFIG_TLS)") from None
    accepted.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    secrets = struct.pack("=HH", 0x0303, 51) + bytes(range(36))  # version, cipher; iv, key, salt, record number
    caller.setsockopt(SOL_TLS, TLS_TX, secrets)
    accepted.setsockopt(SOL_TLS, TLS_RX, secrets)
    values: dict[str, int | str] = {"ulp_name": "tls", "ulp_tls_version": 0x0303, "ulp_tls_cipher": 51}
    zoo.claim(caller, "ESTAB", "TLS, sends", equals=values | {"ulp_tls_txconf": 2})
    zoo.claim(accepted, "ESTAB", "TLS, receives", equals=values | {"ulp_tls_rxconf": 2})


def mptcp(zoo: Zoo, family: int) -> None:
    """An MPTCP connection, its first subflow, and a second one where the namespace is ours to add an endpoint."""
    listener = zoo.listener(family, protocol=IPPROTO_MPTCP)
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
            zoo.missing[f"joined MPTCP subflow {_V[family]}"] = "the endpoint made no subflow in 0.5 s"
    else:
        zoo.missing[f"joined MPTCP subflow {_V[family]}"] = "needs an endpoint, and this namespace is not ours alone"
    for local, peer, shows in ends:
        zoo.expected.append(Expected(shows, "ESTAB", family, local, peer, equals={"ulp_name": "mptcp"}))
    local = address_of(listener.getsockname())
    zoo.expected.append(Expected("TCP listener below the MPTCP one", "LISTEN", family, local, _ANY[listener.family]))


EXHIBITS: Final[tuple[Exhibit, ...]] = (
    losses,
    listeners,
    v4_mapped,
    congestion_controls,
    transfers,
    windows_full,
    closing_states,
    opening_states,
    bound_inactive,
    classes_and_timers,
    marks,
    socket_options,
    interfaces,
    congestion_notification,
    accurate_ecn,
    fast_open,
    md5_signatures,
    tls,
    mptcp,
)


def main() -> None:
    """Prints what is there and what is missing."""
    parser = argparse.ArgumentParser(prog="python -m sockets.zoo", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--own-namespace", action="store_true", help="nothing else lives here: set up all it takes")
    parser.add_argument("--hold", action="store_true", help="keep the sockets until the end of standard input")
    arguments = parser.parse_args()
    started = time.monotonic()
    with open_zoo(arguments.own_namespace) as zoo:
        took = time.monotonic() - started
        for each in zoo.expected:
            ends = f"{each.local[0]}:{each.local[1]} {each.peer[0]}:{each.peer[1]}"
            print(f"{each.state:10} {ends:58} {each.shows}", *(f"{k}={v}" for k, v in each.equals.items()))
        for name, why in zoo.missing.items():
            print(f"missing    {name}: {why}")
        print(f"{len(zoo.expected)} sockets, {took:.2f} s", flush=True)
        if arguments.hold:
            sys.stdin.read()


if __name__ == "__main__":
    main()
