"""What Prometheus scrapes: the agent's own state and the TCP health of the host, as text built once a poll.

agent_state     AgentState: what the agent knows of itself at a moment
resources       what this process uses
table           every metric: name, kind, meaning, labels; the documents are rendered from it
samples         Sample: one value of one metric, before it is text
agent_samples   AgentState to samples
health_samples  HealthSnapshot to samples
xtcp_names      the metrics of xTCP that can be filled, under its names
label           a name of others as a label value that every parser takes
exposition      Exposition: samples to text, through prometheus_client, kept in memory until the next poll
textfile        the same as a file for node_exporter
"""
