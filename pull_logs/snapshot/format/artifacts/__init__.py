"""The artifacts of runs: their records, their entries, and contents that a bundle has once for all runs."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
