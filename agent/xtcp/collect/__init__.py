"""The collector: messages from the network, a file or a Kafka topic, read back to rows and handed to sinks.

arrivals     what an input hands over
bounds       what is read at most
datagrams    sockets: many datagrams in one system call
connections  sockets: a few streams of frames
listening    `udp:`, `unix:` and `unixgram:`: which socket, and what is wrong where there is none
frames       a file or standard input of envelopes or records
kafka_topic  a Kafka topic; offsets are committed when the sinks have accepted the rows
expansion    compressed messages, in bounds
checkpoints  up to where the sinks have accepted
intake       what became of every message and row
streams      loss, duplicates and order by sequence numbers
running      inputs in turn, until they end
collector    messages to batches, every one accounted for
"""
