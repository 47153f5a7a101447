"""The version of this release and of its JSON format, in the one module that imports nothing."""

__version__ = "0.1.0"

FORMAT = "pull-logs/2"
"""The `format` of every JSON object that a command prints; `pull_logs/data/schemas` describes it."""
