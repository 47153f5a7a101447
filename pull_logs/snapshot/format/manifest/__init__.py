"""The manifest of a bundle and its format marker: written, and read from a bundle that may be hostile."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
