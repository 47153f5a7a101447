"""What the commands answer, as Python functions: the runs that sources name, and the questions about them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
