"""What decoding should give: other programs as witnesses, golden rows, differences."""
