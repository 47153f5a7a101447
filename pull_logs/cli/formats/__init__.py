"""The formats of an answer besides its text: tables for a terminal, Markdown, LaTeX and CSV."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
