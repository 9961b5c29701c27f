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

dataset         parquet: and lines:, folders of files by host, date and hour
partitioned     which file a row goes into, when it ends, what a failing disk costs
partitions      the folder's layout; local_folder and s3_folder publish files in it, retention says which go
parquet         one of the two formats of file_format; zstd_lines the other
arrow_stream    the form of an Arrow stream, for files

text_file       text to a file or standard output, for commands
capture_file    netlink datagrams to pcap and pcapng
"""
