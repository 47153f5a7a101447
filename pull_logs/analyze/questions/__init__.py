"""Questions about runs: the view, filters of runs, columns and rows, groups, positions and assertions."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
