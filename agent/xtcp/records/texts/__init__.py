"""What outsiders read of records, made from the tables: .proto files and ClickHouse's DDL.

proto_text         the .proto of a layout
clickhouse         tables of sockets and polls, the view with nulls
clickhouse_kafka   how ClickHouse reads a topic of ours
clickhouse_xtcp2   xtcp2's tables
render             all of proto/, written
"""
