"""The edge: arguments in, sections or JSON out; the only place that prints."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
