"""Where rows go. Each sink turns batches into its own form; what is its duty and what is not stands in `sink`.

sink              the Protocol
destination       `--dest scheme:address?name=value` to a sink; `schemes` has the table
fan_out           several sinks at once, none of which can hurt another
queued, sampled   what stands before a sink: a queue with a thread of its own, a choice of connections

files             `file:` and `stdout:`: `whole_batches` writes what a `form` makes
udp, unix         datagrams and streams to another program; `transmission` sends, `datagram_socket` opens
statsd            gauges of each poll
null              nowhere
capture_file      datagrams, not rows, to pcap and pcapng
text_file         text for people
