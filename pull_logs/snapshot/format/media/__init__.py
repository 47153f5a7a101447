"""Tables and media as members of a bundle: the index of what rows point to, and tables as Parquet files."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
