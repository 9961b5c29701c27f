"""Chunk to Batch, twice: a vectorised decoder for work and a plain one to judge it.

No I/O, no clock, no environment: the same bytes give the same columns on every host. Malformed input never raises;
what cannot be read is counted in the tally with offset and reason.

chains      the walk along many chains of length-prefixed things in lockstep
messages    datagrams to messages: rows, control messages, what is set aside
templates   rows whose messages repeat a layout, whole messages at a time
attributes  rows of any layout, by lockstep walks
assembly    parts of columns to the columns of a batch
decoder     the three in order
reference   the same result from a plain loop: the judge of the tests and of `xtcp-replay verify`
"""
