"""How fast is it? Paired rounds on a farm of sockets, against the kernel's own cost and against other programs.

sample        Sample, medians, and ratios within a round
cases         what is measured, the table of all cases
worker        the cases that run inside one process: reading, decoding, replay
pyroute2_poll the same poll by pyroute2, a process of its own
programs      the cases that are whole processes, measured by wait4
rounds        a farm of sockets, the cases in turn
goals         what was to be reached, and whether it was
report        the tables, as text and in docs/performance.md
run           the command behind `make bench`
"""
