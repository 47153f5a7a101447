"""Bundle sets: a folder or a prefix of bundles with a catalog of all their runs.

    entries         the row of a run in the catalog
    leaf_counts     which keys of configs and summaries have columns of their own
    catalog_schema  the columns of the catalog
    catalog         read a version: look runs up, read columns
    catalog_file    write a version
    store           where a set is stored: a folder
    object_store    or a prefix on object storage
    file_pool       the files of members, of which few are open at once
    catalog_writer  publish the next version, whoever else writes at the same time
    members         the open members of a set
    set_run         a run of a set
    bundle_set      a set as a mapping of run paths to runs
    membership      add bundles, drop runs
    verification    check the members and the catalog
    compaction      many small members become few, and what nothing refers to is removed

See docs/bundle-sets.md.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
