"""Rows as protobuf records, and back: the xtcp record, our flat record, xtcp2's of two epochs.

model             what a layout is: columns to fields
layouts           the layouts by name
flat_record       ours, made from the schema and its tags
xtcp_record       Edgio's xtcp, proto2
xtcp2_record      xtcp2's flat record, epochs 1 and 2
varints           numbers to varints, whole columns at a time
fields            the columns of some rows to the parts of their records
encoder           a batch to records
plain             one message at a time: headers and trailers
envelopes         records to envelopes of a bounded size, numbered
envelope_messages the envelope, header and trailer
proto_text        the .proto files
clickhouse*       DDL: tables, view, what reads a topic, the tables of xtcp2
render            what is in proto/, made anew
descriptor        google.protobuf's descriptors of a layout, made at run time
reader            records to batches
reader_messages   what a message is, and the records in it
reader_epochs     xtcp2's records of any epoch
reader_poll_end   headers and trailers
reader_presence   which columns a row has
reader_contexts   rows by host, poll and time
reader_texts      texts, addresses and bytes
reader_slots      messages of one type to slots, nested ones too
reader_walk       messages to an index of their fields, in lockstep
reader_varints    all varints of a buffer at once
reader_plain      one message, byte after byte
signature         datagrams signed with a shared key
"""
