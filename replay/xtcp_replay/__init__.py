"""xtcp-replay: captures of netlink messages as a source for the same decoder. Adds no decoder of its own."""
