"""Statistics of metrics and of groups of runs, and what names and definitions of metrics say."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
