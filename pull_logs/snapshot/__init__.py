"""Bundles on disk: their format, reading, writing, privacy, and operations on complete bundles.

    format      the bytes: names, manifest, table of runs, identities, ZIP, Parquet
    read        open a bundle, read its runs and files, verify it
    write       the spool of an unfinished pull, and the seal that makes a bundle of it
    privacy     secrets and personal data: audit and redaction
    operations  diff, merge, subset and export
    sets        many bundles in a folder, with a catalog of their runs

Nothing here uses the network, except for bundles that are opened by URL (`format.remote`).
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
