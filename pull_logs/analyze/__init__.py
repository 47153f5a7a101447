"""Answers about runs: what their histories contain, how they differ, and expressions over both.

Data flows forward: `questions` selects columns and rows of frames with the language of `expressions`,
`statistics` computes on them, and `answers` puts the results into one object, whose types are in `results`.
Nothing here prints or uses the network.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
