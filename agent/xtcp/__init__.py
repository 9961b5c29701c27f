"""xtcp: every TCP socket of a host, captured and decoded.

The way of the data, imports from right to left only:

    netlink, sources ─> Chunk ─> decode ─> Batch ─> poll ─> encode, sinks
                     schema: the one table that every stage reads

errors    every exception and exit code
spelling  what a name that does not exist may have meant
schema    structs, attributes and columns (the table)
netlink   the kernel's interface: requests, the socket, arenas
chunk     Chunk: bytes of a dump with their context
batch     Batch: columns with presence; Tally: what decoding counted
decode    Chunk to Batch, without I/O
sources   where chunks come from: the live kernel, a raw dump file
poll      one poll: source to unique rows, closed by a trailer
encode    Batch to text
ledger    what became of every row that a sink was offered
sinks     where rows go, behind one Protocol; captures to a file
cli       the commands
"""

__version__ = "0.1.0"
