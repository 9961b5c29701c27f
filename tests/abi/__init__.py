"""The schema table against the kernel's own headers and BTF."""
