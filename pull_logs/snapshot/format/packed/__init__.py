"""Values of very many members and runs as columns, so that one takes bytes rather than Python objects."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
