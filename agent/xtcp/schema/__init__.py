"""The one table of structs, attributes and columns. Every stage reads it; it imports none of them.

model       what a row is
inet_diag   sock_diag's structs and every INET_DIAG_* attribute
tcp_info    struct tcp_info and the congestion controls' structs
mptcp_info  struct mptcp_info
requests    what stands around rows: a request's attributes and filter, a refusal's payload
metadata    our own columns
columns     the list of columns, derived
names       states, timers and families by name
layout      offsets, dtypes and shifts for a byte order and a release, derived (NumPy)
tags        the permanent field numbers of the flat record
clickhouse  the table of sockets for ClickHouse, derived
render      proto/columns.md, derived
"""
