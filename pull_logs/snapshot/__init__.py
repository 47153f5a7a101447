"""Disk: rows, columns, Parquet, the bundle and its checks; knows no network.

    rows -> canon -> columns -> merging -> parquet -> stored -> seal -> bundle -> run
                                  |                    |
            frames -> sweep ----- spool (while a pull goes on)

`canon` is the law of a row, `columns` the batches that rows travel in,
`merging` the law of one row a step, `parquet` the bytes of a history and
`identity` their hashes. `naming`, `ziplayout`, `zipdirectory` and `container`
are the ZIP, `manifest` and `runtable` its index. `spool` is a bundle in the
making, `frames` the pages that it keeps, `sweep` their merge in bounded memory,
`seal` the moment it becomes one, `bundle` and `run` what readers hold,
and `verify` the check of every byte. `filerecords` are what is known of the files
that runs logged, `runfiles` those files, `filetexts` what of them should not be
shared. Of whole bundles, `differences` tells what
changed, `combining` makes one of several, `subsetting` takes a part, and
`exporting` writes plain files; `alignment` walks through two histories at once.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
