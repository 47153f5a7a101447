"""The command about the shell that runs the command line."""
