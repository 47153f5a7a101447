"""What few runs allow to conclude: tests between groups, over several tasks, and against a baseline."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
