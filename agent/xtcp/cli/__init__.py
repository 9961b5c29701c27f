"""The commands. Parsers import no NumPy, so that `--help` is quick; each command imports what it needs when it runs.

main       the verbs
command    arguments to exit code, errors to words
selection  --columns and --attributes to columns and request bits
output     options and writing that `xtcp once` and `xtcp-replay decode` share
replayed   rows of a file
delivered  what became of rows in the sinks, for commands that deliver
results    tables of SQL results
run        the agent
validate   its settings, checked and shown
once       one poll of this host, or of a file
collect    records to sinks
query      SQL over the store
doctor     what this host can and cannot do
columns    the table of columns
schema     the same for protobuf, ClickHouse, Arrow
"""
