"""What a run logged besides its rows: what it printed, and the media that its rows point to."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
