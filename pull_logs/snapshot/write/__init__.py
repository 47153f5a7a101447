"""Writing a bundle: the spool of an unfinished pull, its pages, finished runs, and the seal."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
