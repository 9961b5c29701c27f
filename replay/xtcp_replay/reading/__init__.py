"""Captures, raw dumps and archives to chunks: nothing hidden, nothing decoded.

opening        a file of any of these kinds as a source
input_bytes    a file from its start to its end
pcap_stream, pcapng_stream   captures, checked record by record before scapy sees them
packets        packets out of them, by scapy's raw readers
dumps          packets to chunks, one dump behind the other
findings       what was wrong, each kind once
"""
