"""Independent witnesses: what other programs say of the same bytes."""
