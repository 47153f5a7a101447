"""Runs as the W&B SDK reads them, in a process and with a cache of its own."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
