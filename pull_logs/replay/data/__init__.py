"""The data side of replay: which runs there are, and what the SDK reads of them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
