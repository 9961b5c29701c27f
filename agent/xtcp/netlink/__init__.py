"""The kernel's interface: numbers, requests, the socket and its arenas."""
