"""What worker processes do with bundles: they open them by location, and refuse another bundle there."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
