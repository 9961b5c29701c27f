"""scapy layers of sock_diag, made from the schema's table; importing them registers link type 253.

words        the names of numbers
fields       members, bit fields, addresses, chains as scapy fields
structs      a struct of the schema as fields; the class of all layers
attributes   a class for each attribute
bytecode     the operations of a request's filter
messages     `of(order, release, protocol)`: the classes for one host
cooked       the header before each datagram, `dissect`
details      a dissected packet as lines for people
blocks       a packet as blocks of lines, a message each
keys         where keys stand in a packet
pieces       a file as packets, or as messages
"""

from xtcp_replay.layers.cooked import CookedNetlink, dissect
from xtcp_replay.layers.messages import Layers, of
from xtcp_replay.layers.structs import Layer

__all__ = ["CookedNetlink", "Layer", "Layers", "dissect", "of"]
