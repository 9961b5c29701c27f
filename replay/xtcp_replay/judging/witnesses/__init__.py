"""Independent witnesses: what other programs say of the same bytes.

testimony      what a witness is asked, and what it answers
programs       running one that may crash or hang
ss             ss, by its text: ss_text reads it, ss_print_rules and ss_formats say what it should print
pyroute2_diag  pyroute2's decoder
tshark         Wireshark's
made_up        a socket that has everything
"""
