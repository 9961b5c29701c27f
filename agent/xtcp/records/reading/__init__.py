"""Records back to batches, of any layout, whatever the bytes are.

messages   what a message is: an envelope, a bare record, of whom
reader     records of a layout to batches; slots, texts and contexts are its columns
walk       all messages in lockstep to an index of fields; varints reads all of them at once
presence   what a row had, by layout
epochs     which of xtcp2's epochs a record is of
poll_end   headers and trailers
plain      one message, byte after byte: the oracle
"""
