"""The answers of the commands as sections of text, and as objects of JSON where the analysis gives none."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
