"""Downloads from W&B: complete runs, into a bundle.

    settings -> client -> discovery -> history (exported files, live rows) -> pieces -> spool -> bundle

`api` sends requests: `settings` finds the address and the credentials, `client` sends GraphQL queries with
the key and `downloads` files without it, both over `connection`; `failures` separates temporary from final
errors, `retry` repeats requests and `rate_limit` bounds them. `discovery` finds the runs of a `selection`
and reads them into `run_plan`. `history` reads one run from its exported files and live rows, or updates it
from an earlier bundle, and `files` downloads the files that it logged. `pipeline` is a complete pull with its
`options` and `outcomes`, `resume` continues an interrupted one, `dry_run` estimates one, and `cache` stores
single runs for views. `progress` and `reports` hold what is reported during a pull and at its end.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
