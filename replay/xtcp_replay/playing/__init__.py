"""Captures played into sinks, at their own pace or another.

player      a source through the decoder to a sink, dump by dump
pace        when the next dump is due
hosts       the names under which rows are sent
interrupts  Ctrl-C between two batches, never inside one
"""
