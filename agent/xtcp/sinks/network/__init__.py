"""Rows over sockets.

udp, unix            the destinations; statsd: gauges of each poll
datagram_rows        rows as datagrams: packing makes them, transmission sends them, signed signs them
stream_rows          rows as a stream that is opened again where it ends
datagram_socket      a socket that is opened anew; udp_socket connects it, address says where
sendmmsg             many datagrams in a call; error_queue: which of them were answered by an error
refusals             what an errno means to people
"""
