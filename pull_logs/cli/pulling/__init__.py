"""What `fetch`, `sync` and `refresh` share: their options, their messages, and the pull into a bundle."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
