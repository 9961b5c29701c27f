"""The command line of xtcp-replay: a module a verb, each with `add_parser(verbs)`."""
