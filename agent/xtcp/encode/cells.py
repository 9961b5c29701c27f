"""One value to text, the same in every format that programs read.

addresses      family 2: the first four bytes as a dotted quad; family 10: as inet_ntop writes it, v4-mapped
               `::ffff:a.b.c.d`; any other family, or none known: 16 bytes in hexadecimal
`idiag_state`  by ss's name, `UNKNOWN(n)` for a number without one
texts          UTF-8; what is not becomes U+FFFD
bytes          lower-case hexadecimal, except for the three below, which become lists. In a list, bytes that do not
               make an element (another family, cut short) are one text in hexadecimal
`locals`,      `address:port` a sockaddr_storage, `[address]:port` for IPv6, with `%scope` where there is one; a flow
`peers`        label is left out
`md5sig`       an object a key, with the members of `struct tcp_diag_md5sig` by name; `tcpm_key` in hexadecimal, and
               only where the decoder kept the key
all others     decimal integers
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from xtcp.schema.columns import BY_NAME
from xtcp.schema.inet_diag import TCP_DIAG_MD5SIG
from xtcp.schema.layout import members, size_of
from xtcp.schema.model import ADDRESS, Order
from xtcp.schema.names import STATES, name_of

AF_INET: Final = 2
AF_INET6: Final = 10

STATE_NAMES: Final = tuple(name_of(STATES, number) for number in range(256))

# include/uapi/linux/socket.h: sizeof(struct __kernel_sockaddr_storage)
_SOCKADDR_STORAGE: Final = 128
# include/uapi/linux/tcp.h: TCP_MD5SIG_MAXKEYLEN
_LONGEST_KEY: Final = 80

# An element of a list, and what a column of bytes becomes.
Element: TypeAlias = str | dict[str, int | str]
Value: TypeAlias = str | list[Element]


@lru_cache(maxsize=4096)
def address_text(family: int, address: bytes) -> str:
    """The 16 bytes of `idiag_src` or `idiag_dst` of a row of `family`."""
    if family == AF_INET:
        a, b, c, d = address[:4]
        return f"{a}.{b}.{c}.{d}"
    if family == AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, address)
    return address.hex()


def address_texts(families: Sequence[int], addresses: bytes) -> list[str]:
    """`address_text` for rows whose 16 bytes follow each other in `addresses`."""
    each = [addresses[at : at + 16] for at in range(0, len(addresses), 16)]
    return list(map(address_text, families, each))


def clean_text(raw: bytes | str) -> str:
    """A text that every encoding can write: invalid UTF-8 and lone surrogates replaced."""
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def bytes_value(name: str, payload: bytes, order: Order) -> Value:
    """The value of a column of bytes from a host of byte order `order`."""
    if name in ("locals", "peers"):
        return list(_socket_addresses(payload, order))
    if name == "md5sig":
        return list(_md5_keys(payload, order))
    return payload.hex()


def _byteorder(order: Order) -> Literal["little", "big"]:
    return "little" if order == "<" else "big"


def _socket_addresses(payload: bytes, order: Order) -> Iterator[str]:
    """Address and port of each `struct sockaddr_in` or `sockaddr_in6` (include/uapi/linux/in.h, in6.h)."""
    for start in range(0, len(payload), _SOCKADDR_STORAGE):
        one = payload[start : start + _SOCKADDR_STORAGE]
        family = int.from_bytes(one[:2], _byteorder(order))
        port = int.from_bytes(one[2:4], "big")
        if len(one) == _SOCKADDR_STORAGE and family == AF_INET:
            yield f"{address_text(AF_INET, one[4:20])}:{port}"
        elif len(one) == _SOCKADDR_STORAGE and family == AF_INET6:
            scope = int.from_bytes(one[24:28], _byteorder(order))
            yield f"[{address_text(AF_INET6, one[8:24])}{f'%{scope}' if scope else ''}]:{port}"
        else:
            yield one.hex()


def _md5_keys(payload: bytes, order: Order) -> Iterator[Element]:
    size = size_of(TCP_DIAG_MD5SIG)
    for start in range(0, len(payload), size):
        one = payload[start : start + size]
        if len(one) < size:
            yield one.hex()
            continue
        of = _order_of(one, order)
        part = {member.column: one[member.offset : member.end] for member in members(TCP_DIAG_MD5SIG, of, None)}
        key, address = part.pop("tcpm_key"), part.pop("tcpm_addr")
        element: dict[str, int | str] = {name: int.from_bytes(raw, _byteorder(of)) for name, raw in part.items()}
        element["tcpm_addr"] = address_text(int(element["tcpm_family"]), address)
        if any(key):
            element["tcpm_key"] = key[: int(element["tcpm_keylen"])].hex()
        yield element


def _order_of(key: bytes, order: Order) -> Order:
    """The byte order of a `struct tcp_diag_md5sig`: `order`, unless its length is one that only the other order gives.

    Records carry the struct as it came and do not say from which host. No key is longer than 80 bytes, so a length
    that is right in one order is 256 or more in the other.
    """
    turned: Order = ">" if order == "<" else "<"
    (at,) = (member.offset for member in members(TCP_DIAG_MD5SIG, order, None) if member.column == "tcpm_keylen")
    told, otherwise = (int.from_bytes(key[at : at + 2], _byteorder(each)) for each in (order, turned))
    return turned if otherwise <= _LONGEST_KEY < told else order


def is_address(name: str) -> bool:
    """Whether a column holds addresses, whose text depends on the row's family."""
    return BY_NAME[name].kind is ADDRESS


def with_family(names: Collection[str]) -> frozenset[str]:
    """The columns that `names` are made of: an address needs its family."""
    family = {"idiag_family"} if any(map(is_address, names)) else set()
    return frozenset(names) | family
