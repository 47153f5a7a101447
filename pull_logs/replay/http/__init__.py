"""The HTTP side of replay: the application, its guard, and the stored objects."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
