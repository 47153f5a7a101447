"""Network out: a read server that an unmodified `wandb.Api()` takes for W&B, over bundles.

    request -> guard -> app -> documents -> schema -> nodes -> catalog, library -> bundles

`catalog` knows which runs there are (filters and orders over `fields`);
`library` reads their histories once and keeps them in bounds (`bounded`):
`history` makes live pages of them, `exports` whole Parquet files, which
`storage` sends to whoever follows a link out of `links`. `records` encodes
configs and summaries, and `misses` what is said of what is not there. `server` puts the application on a port, `environment`
leads the SDK there and nowhere else, `sharing` keeps servers for a session, and
`asking` tells what a query names, for whoever records it.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
