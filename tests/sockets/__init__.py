"""Sockets that the tests open themselves: one of every kind, very many of one kind, and some that come and go.

Standard library and Linux only, so that the same files work on every guest. Nothing here decodes or asks netlink.
"""
