"""Where encoded rows go. A sink takes bytes or text and knows nothing of rows.

text_file     text to a file or standard output
capture_file  netlink datagrams to pcap and pcapng
"""
