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
descriptor        google.protobuf's descriptors of a layout, made at run time
texts             .proto files and ClickHouse's DDL
reading           records back to batches
signature         datagrams signed with a shared key
"""
