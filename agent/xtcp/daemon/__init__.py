"""The agent as a service: one thread that polls on a schedule, and what keeps it honest.

agent        Agent: the loop; what ends it, what a reload changes
poller       one poll: kernel to sinks, deadline, what is shed
schedule     when: a grid of ticks on the monotonic clock, its phase by the host
clocks       the clocks, in one place, so that tests can turn them
outlets      the sinks of a run, and how a reload exchanges them
supervision  what follows from faults of this program
memory       how much is used, what is shed before it is too much
signals      SIGTERM, SIGINT, SIGHUP
figures      what the agent counts, as an AgentState
endpoint     /metrics, /-/healthy, /-/ready
reporter     what is said about a run, and where
log          lines for machines and people, with limits
notify       what systemd is told
view         what a terminal shows; `top` chooses the connections that matter most
"""
