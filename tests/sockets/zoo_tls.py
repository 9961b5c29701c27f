"""Exhibits of kernel TLS: each version and cipher, either direction and both, and what can be chosen for each.

Each opens its sockets in one address family and writes them down in the zoo; it raises ``Unavailable`` where the kernel
has no TLS. Nothing is sent: the kernel shows what was set.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from tests.sockets.zoo_keeping import Unavailable, V, Zoo

TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
TLS_TX_ZEROCOPY_RO, TLS_RX_EXPECT_NO_PAD, TLS_TX_MAX_PAYLOAD_LEN = 3, 4, 5
TLS_SW: Final = 2


@dataclass(frozen=True)
class Cipher:
    """A TLS version and cipher, with the length of its ``struct tls12_crypto_info_*`` behind the two numbers."""

    name: str
    version: int
    number: int
    secrets: int

    @property
    def told(self) -> bytes:
        """What the kernel is told: version, cipher, then initial vector, key, salt and record number."""
        return struct.pack("=HH", self.version, self.number) + bytes(i & 0xFF for i in range(self.secrets))

    @property
    def columns(self) -> dict[str, int | str]:
        """What a row says of it."""
        return {"ulp_name": "tls", "ulp_tls_version": self.version, "ulp_tls_cipher": self.number}


ONE_WAY: Final = Cipher("TLS 1.2, AES-GCM-128", 0x0303, 51, 36)
BOTH_WAYS: Final = (
    Cipher("TLS 1.3, AES-GCM-256", 0x0304, 52, 52),
    Cipher("TLS 1.2, ChaCha20-Poly1305", 0x0303, 54, 52),
)


def tls(zoo: Zoo, family: int) -> None:
    """TLS 1.2 in one direction, 1.2 and 1.3 in both, one end without keys yet, and the flags of version 1.3."""
    listener = zoo.listener(family)
    zoo.claim(listener, "LISTEN", "listener of the TLS ones")
    sends, receives = zoo.pair(listener)
    try:
        _set_up(sends, receives)
    except FileNotFoundError:
        zoo.claim_both((sends, receives), "without TLS")
        raise Unavailable("this kernel has no TLS (CONFIG_TLS)") from None
    sends.setsockopt(SOL_TLS, TLS_TX, ONE_WAY.told)
    receives.setsockopt(SOL_TLS, TLS_RX, ONE_WAY.told)
    zoo.claim(sends, "ESTAB", f"{ONE_WAY.name}, sends", equals=ONE_WAY.columns | {"ulp_tls_txconf": TLS_SW})
    zoo.claim(receives, "ESTAB", f"{ONE_WAY.name}, receives", equals=ONE_WAY.columns | {"ulp_tls_rxconf": TLS_SW})
    for cipher in BOTH_WAYS:
        _both_ways(zoo, listener, cipher)
    bare = zoo.pair(listener)
    _set_up(*bare)
    for end in bare:
        zoo.claim(end, "ESTAB", "TLS without keys yet", equals={"ulp_name": "tls"})


def _set_up(*ends: socket.socket) -> None:
    for end in ends:
        end.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")


def _both_ways(zoo: Zoo, listener: socket.socket, cipher: Cipher) -> None:
    ends = zoo.pair(listener)
    _set_up(*ends)
    try:
        for end in ends:
            end.setsockopt(SOL_TLS, TLS_TX, cipher.told)
            end.setsockopt(SOL_TLS, TLS_RX, cipher.told)
    except OSError as error:
        zoo.missing[f"{cipher.name} {V[listener.family]}"] = str(error)
        zoo.drop(*ends)
        return
    columns = cipher.columns | {"ulp_tls_txconf": TLS_SW, "ulp_tls_rxconf": TLS_SW}
    zoo.claim(ends[1], "ESTAB", cipher.name, equals=columns)
    chosen: dict[str, int | str] = {}
    if cipher.version == 0x0304:
        if _choose(zoo, ends[0], TLS_RX_EXPECT_NO_PAD, 1, "TLS_RX_EXPECT_NO_PAD"):
            chosen["ulp_tls_rx_no_pad"] = 1
        if _choose(zoo, ends[0], TLS_TX_MAX_PAYLOAD_LEN, 4096, "TLS_TX_MAX_PAYLOAD_LEN"):
            chosen["ulp_tls_tx_max_payload_len"] = 4096
        _choose(zoo, ends[0], TLS_TX_ZEROCOPY_RO, 1, "TLS_TX_ZEROCOPY_RO")
        zoo.missing["ulp_tls_zc_ro_tx"] = "shown of a connection that an interface encrypts, and there is none here"
    zoo.claim(ends[0], "ESTAB", f"{cipher.name}, {len(chosen)} options", equals=columns | chosen)


def _choose(zoo: Zoo, of: socket.socket, option: int, value: int, name: str) -> bool:
    """Sets an option of TLS, u16 or int as the kernel has it; whether this kernel has it."""
    told = struct.pack("=H", value) if option == TLS_TX_MAX_PAYLOAD_LEN else struct.pack("=I", value)
    try:
        of.setsockopt(SOL_TLS, option, told)
    except OSError as error:
        why = "this kernel does not know it" if error.errno == errno.ENOPROTOOPT else os.strerror(error.errno or 0)
        zoo.missing[name] = why
        return False
    return True
