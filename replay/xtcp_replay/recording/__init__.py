"""Captures taken from a netlink monitor, or from dumps of our own."""
