"""scapy layers of netlink and sock_diag, built from the schema table."""
