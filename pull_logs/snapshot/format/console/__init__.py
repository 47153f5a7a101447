"""The console log of a run as a member of a bundle: its lines, as JSON, compressed with zstandard."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
