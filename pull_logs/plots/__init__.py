"""Curves as pictures: `lines` reads and prepares them, `figure` draws with matplotlib, `terminal` with text.

See docs/plots.md.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
