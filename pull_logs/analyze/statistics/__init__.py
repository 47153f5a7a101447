"""Statistics of metrics and of groups of runs: schema, summaries, intervals, tests, health and ranking."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
