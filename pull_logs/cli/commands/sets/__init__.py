"""The command `set` and its commands."""
