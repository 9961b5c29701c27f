"""Where rows go. A sink is a small class behind one Protocol, counts what became of every row, and hurts no other.

sink            the Protocol, and how one with a queue and a thread fits it
schemes         the table of schemes: what can stand behind --dest
destination     the text behind --dest to a sink; record_choice: which records it asks for
queued          a queue in bytes and a thread before a sink
sampled         one connection in N, before the queue
fan_out         the sinks of a run, all offered the same rows

files           file:, stdout:
network         udp:, unix:, unixgram:, statsd:
folders         parquet:, lines:
kafka           kafka:
clickhouse      clickhouse:
null            nowhere

backoff         pauses before the next try
secret_file     passwords that stand in files
text_file       text to a file or standard output, for commands
capture_file    netlink datagrams to pcap and pcapng
"""
