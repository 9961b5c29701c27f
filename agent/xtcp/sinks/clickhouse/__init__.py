"""Rows to ClickHouse over HTTP.

target   what the destination says
inserts  the sink: rows gathered to inserts, each of them once
server   one insert, and what the answer means
opening   the destination
"""
