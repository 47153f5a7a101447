"""The command `skill`: the instructions for coding agents, and where they are installed."""
