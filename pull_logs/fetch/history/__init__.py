"""The history of one run: exported files, live rows, decoding and refreshing."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
