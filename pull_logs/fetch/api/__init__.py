"""The W&B API: settings, the GraphQL client, downloads, retries and the request rate."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
