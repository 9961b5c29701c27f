"""Where rows go. A sink is a small class behind one Protocol, counts what became of every row, and hurts no other.

sink          the Protocol, and how one with a queue and a thread fits it
schemes       the table of schemes: what can stand behind --dest
destination   the text behind --dest to a sink
queued        a queue in bytes and a thread before a sink
files         file: and stdout:, by format
fan_out       the sinks of a run, all offered the same rows
text_rows     json and csv to a file or standard output
null          nowhere

text_file     text to a file or standard output, for commands
capture_file  netlink datagrams to pcap and pcapng
"""
