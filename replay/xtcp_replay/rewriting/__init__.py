"""Messages written anew: in the other byte order, in another format, or without what must not be shared.

anatomy      every byte of a datagram, and what it is
twin         a datagram in the other byte order
datagrams    a file of any kind as one stream of datagrams
conversion   which of them go into another file, and in which order
writers, mlab_lines   the formats that are written
whole_file   a file that is there when it is whole
scrub, scrub_pcapng, scrub_packet, scrub_datagram   a copy that is safe to share
pseudonyms, addresses   what stands in it for what
"""
