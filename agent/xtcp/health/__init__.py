"""The TCP health of a host in a bounded number of figures, computed on columns, poll by poll.

health       Health: takes the batches of a poll, gives a HealthSnapshot at its end
classes      which class a connection counts in: direction, port group, congestion control
histograms   distributions, with fixed buckets
connections  what each connection's counters were, so that they can be counted on
snapshot     HealthSnapshot, and the figures that are in it
"""
