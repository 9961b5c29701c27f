"""What the agent can be told: one table of settings behind flags, variables and the configuration file.

table    the settings: name, meaning, default, how a text becomes a value
values   texts to values that `xtcp.amounts` does not know
toml     the configuration file: values with the lines they stand in
sources  flags over environment over file over default, each with its origin; all faults at once
options  the table as options of a command
effective  Settings, typed, with the destinations as they will be opened
rendered   the table for docs/operations.md, the effective settings for people
"""
