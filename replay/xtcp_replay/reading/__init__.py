"""Captures, raw dumps and archives to chunks: nothing hidden, nothing decoded.

opening        a file of any of these kinds as a source, or as its bytes
told, sidecar  what a user says about a file, by options or in FILE.toml beside it
input_bytes    bytes from their start to their end
compressed     what is in gzip, zstd and xz data
pcap_stream, pcapng_stream, record_stream   captures, checked record by record before scapy sees them
packets        packets out of them, by scapy's raw readers
datagrams, replies, matching, dumps         packets to chunks, one dump behind the other
capture_file, mlab_archive                  chunks of a capture, and of an archive of m-lab
contents       what passed, counted
findings       what was wrong, each kind once
"""
