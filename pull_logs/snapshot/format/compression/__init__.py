"""Texts that are members of a bundle, compressed with zstandard: files of runs, and contents of artifacts."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
