"""A read server over bundles that an unmodified `wandb.Api()` uses like W&B.

    request -> http.guard -> http.app -> graphql.documents -> graphql.resolvers -> data.catalog, data.library

`http` receives requests and sends stored files, `graphql` parses queries and resolves their fields, and
`data` reads runs, histories and exported files from the bundles. `not_found` has the messages about what
the bundles do not hold, `server` puts the application on a port, `environment` points the SDK at it, and
`shared_servers` keeps servers for a test session.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
