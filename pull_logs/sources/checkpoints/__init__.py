"""Checkpoint files: what they contain, read without running it, and the run they name."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
