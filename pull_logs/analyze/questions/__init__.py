"""What can be asked: the request, which runs, which rows and columns, groups and assertions."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
