"""Finding runs: the queries, the facts of each run, and the configs of sweeps."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
