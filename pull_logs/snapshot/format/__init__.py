"""The bytes of a bundle: names, manifest, run table, identities, the ZIP container and Parquet files."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
