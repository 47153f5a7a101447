"""Completion in shells: commands, options, and the names that the bundles of the line have."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
