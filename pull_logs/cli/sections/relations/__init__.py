"""The sections of `compare` about values of runs and how they relate to each other."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
