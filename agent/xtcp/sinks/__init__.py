"""Where rows go. A sink is a small class behind one Protocol, counts what became of every row, and hurts no other.

sink            the Protocol, and how one with a queue and a thread fits it
schemes         the table of schemes: what can stand behind --dest
destination     the text behind --dest to a sink
queued          a queue in bytes and a thread before a sink
sampled         one connection in N, before the queue
fan_out         the sinks of a run, all offered the same rows

files           file: and stdout:, by format; whole_batches writes what a form makes
udp, unix       datagrams and streams: datagram_socket opens, transmission sends
statsd          gauges of each poll
null            nowhere

text_file       text to a file or standard output, for commands
capture_file    netlink datagrams to pcap and pcapng
"""
