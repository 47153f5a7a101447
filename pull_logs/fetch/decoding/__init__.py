"""What arrives of a history: decoded to batches, counted, and encoded, also by other processes."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
