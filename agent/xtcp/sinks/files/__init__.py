"""Rows to files and streams of bytes.

destinations   file: and stdout:, by format
forms, form    which bytes batches become: text, envelopes, an Arrow stream
whole_batches  writes what a form makes, each batch whole
envelope_form  protobuf envelopes and bare records
arrow_stream   Arrow's IPC stream
"""
