"""The columns of the index of metrics, converted fact by fact."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
