"""The variable of the environment with which the script of a shell asks for completions."""

COMPLETE_VARIABLE = "_PULL_LOGS_COMPLETE"
"""The name that click derives from that of the command."""
