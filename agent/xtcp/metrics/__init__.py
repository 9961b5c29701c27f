"""What Prometheus scrapes: the agent's own state and the TCP health of the host, as text built once a poll.

agent_state  AgentState: what the agent knows of itself at a moment
"""
