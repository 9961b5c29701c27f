"""`udp:[HOST:PORT]`: rows as datagrams, 127.0.0.1:13000 where nothing else is said, as xTCP has it.

`record=xtcp`, the default: one bare record a datagram, for xTCP's receivers. Any other record: envelopes cut under
`mtu`, each with a sequence number, so that a receiver counts what it lost. With `hmac-key` each is signed, footer
included in `mtu`; xTCP's receivers do not know that. What becomes of a datagram: `transmission`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xtcp import amounts
from xtcp.sinks.destination import Destination, amount
from xtcp.sinks.network.address import HostPort, host_port
from xtcp.sinks.network.udp_socket import Marks, connected
from xtcp.sinks.record_choice import XTCP, record_choice

if TYPE_CHECKING:
    from xtcp.ledger import Account
    from xtcp.records.signature import Keys
    from xtcp.sinks.destination import Maker
    from xtcp.sinks.sink import Sink

DEFAULT: Final = HostPort("127.0.0.1", 13000)
# What fits an Ethernet frame with IPv6, and tunnels, to spare; and what UDP over IPv4 can carry at all.
MTU: Final = 1432
LEAST_MTU: Final = 256
MOST_MTU: Final = 65_507


def prepare(destination: Destination) -> Maker:
    """Checks the options; the name is resolved later, by the sink on its own thread."""
    where = host_port(destination.address, DEFAULT, of=destination.name)
    records = record_choice(destination, XTCP)
    limit_bytes = amount(destination, "mtu", amounts.within(LEAST_MTU, MOST_MTU), MTU)
    rate = amount(destination, "rate", amounts.count, 0)
    keys = _keys(destination.options.get("hmac-key"))
    marks = Marks(
        sndbuf=amount(destination, "sndbuf", amounts.size, None),
        ttl=amount(destination, "ttl", amounts.within(1, 255), None),
        dscp=amount(destination, "dscp", amounts.within(0, 63), None),
    )

    def make(account: Account) -> Sink:
        from xtcp.sinks.network.datagram_rows import DatagramRows
        from xtcp.sinks.network.datagram_socket import DatagramSocket
        from xtcp.sinks.network.packing import packing
        from xtcp.sinks.network.transmission import Pace

        sender = DatagramSocket(
            destination.name, lambda: connected(where, marks), pace=Pace(rate or None), changes=True
        )
        if keys is None:
            return DatagramRows(account, sender, packing(records, limit_bytes))
        from xtcp.records.signature import FOOTER
        from xtcp.sinks.network.signed import Signed

        return DatagramRows(account, sender, Signed(packing(records, limit_bytes - FOOTER), keys))

    return make


def _keys(path: str | None) -> Keys | None:
    """The keys in the file at `path`. Raises `XtcpError` for one that does not serve."""
    if path is None:
        return None
    from xtcp.records.signature import Keys

    return Keys.of_file(path)
