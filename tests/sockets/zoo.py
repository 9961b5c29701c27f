"""What can a TCP socket look like? Opens one of everything that this kernel has, IPv4 and IPv6, and says what it is.

In: nothing but the current network namespace. Out: a ``Zoo`` with the sockets, a record for each of them that a test
may rely on, and what could not be had and why. The records come from what was set, from ``getsockopt`` and from
/proc/net/tcp, never from netlink. Deterministic in what it holds (ports are the kernel's choice), ready in under three
seconds, as it says for 30 seconds: then orphans, SYN-SENT and SYN-RECV begin to time out.

As a plain user in any namespace it opens what needs no privilege and changes no setting. With ``own_namespace=True``
(root, and nothing else in the namespace) it also adds an interface, a second loopback address and an MPTCP endpoint,
and switches TCP Fast Open and, for single connections, ECN on.

``python -m sockets.zoo`` (with tests/ on the path) prints the list. The exhibits are in zoo_states, zoo_attributes
and zoo_tls.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # with tests/ on the path, or none
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.sockets import zoo_attributes, zoo_states, zoo_tls
from tests.sockets.zoo_keeping import Exhibit, Expected, Unavailable, V, Zoo, states_now
from tests.sockets.zoo_surroundings import congestion_controls_of, furnish

__all__ = ["Expected", "Zoo", "open_zoo"]

_SETTLED_AFTER: Final = 1.5

EXHIBITS: Final[tuple[Exhibit, ...]] = (
    zoo_states.losses,
    zoo_states.listeners,
    zoo_states.v4_mapped,
    zoo_attributes.congestion_controls,
    zoo_states.transfers,
    zoo_states.windows_full,
    zoo_states.closing_states,
    zoo_states.opening_states,
    zoo_states.bound_inactive,
    zoo_attributes.classes_and_timers,
    zoo_attributes.marks,
    zoo_attributes.socket_options,
    zoo_attributes.interfaces,
    zoo_attributes.congestion_notification,
    zoo_attributes.congestion_experienced,
    zoo_attributes.accurate_ecn,
    zoo_attributes.fast_open,
    zoo_attributes.md5_signatures,
    zoo_tls.tls,
    zoo_attributes.mptcp,
    zoo_attributes.other_owner,
    zoo_attributes.paced,
)


def open_zoo(own_namespace: bool = False) -> Zoo:
    """One of everything; see the module for what ``own_namespace`` permits. Never raises for what a kernel lacks."""
    zoo = Zoo(own_namespace)
    try:
        if own_namespace:
            furnish(zoo)
        zoo.controls = congestion_controls_of(zoo)
        for family in (socket.AF_INET, socket.AF_INET6):
            for exhibit in EXHIBITS:
                opened, claimed, waited = len(zoo.sockets), len(zoo.expected), len(zoo.conditions)
                try:
                    exhibit(zoo, family)
                except Unavailable as error:
                    zoo.missing[f"{exhibit.__name__} {V[family]}"] = str(error)
                except OSError as error:
                    zoo.missing[f"{exhibit.__name__} {V[family]}"] = str(error)
                    zoo.drop(*zoo.sockets[opened:])
                    del zoo.expected[claimed:], zoo.conditions[waited:]
        _settle(zoo)
    except BaseException:
        zoo.close()
        raise
    return zoo


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
        zoo.missing[f"{each.shows} {V[each.family]}"] = f"{state} after {_SETTLED_AFTER} s, not {each.state}"
    for shows in unmet:
        zoo.expected = [each for each in zoo.expected if each.shows != shows]
        zoo.missing[shows] = f"not seen within {_SETTLED_AFTER} s"


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
