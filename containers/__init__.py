"""Containers: the suite on machines that this one is not, in a Docker engine, by the user emulation of qemu."""
