"""One poll: dumps to unique rows, closed by a trailer that proves it.

unique   rows of one dump or poll without duplicates
trailer  Trailer: what a poll says of itself
live     a poll of this network namespace
"""
