"""The commands, one module each; `pull_logs.cli.main` imports the one that is run."""
