"""Answers about runs: what a history holds, how runs differ, and expressions over both.

The data flows forward: a run -> `frames` (columns, read when they are used) ->
`selection` (which columns and rows, with the expression language) -> `schema`,
`stats`, `sample`, `compare`, `checkpoints` -> `answers`, which puts them into the one object
that the command line prints. Nothing here prints, and nothing knows a network.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
