"""Reading a bundle: the bundle, its index, runs and files, data frames, and verification."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
