"""Network in: runs of W&B, whole, into a bundle.

    settings -> client -> discovery -> history (shards, live) -> pieces -> spool -> bundle

`settings` finds whom to ask and as whom. `client` asks GraphQL with the key and `storage`
downloads without it, over `wire`, at the pace of `pacing`; `faults` tells what may pass
from what is final. `discovery` finds runs by `queries`, `nodes` reads them into `plan`.
`history` reads one run by way of `shards` and `live` (`windows` cuts its steps into
requests, `decode` makes batches, `tally` counts lines, `pieces` keeps them), and `sweeps`
the config of each sweep. `files` brings the files that a run logged: `wantedfiles` says
which, `filelists` what W&B tells of them, `filebytes` downloads one. `refreshing`
brings a run up to date that an earlier bundle has, one of those that `leftovers` finds.
`pipeline` is the whole pull, `dryrun` tells what one would take, `cache` keeps single runs for views,
and `progress` and `reports` are what is told meanwhile and at the end.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
