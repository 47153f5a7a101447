"""The commands, one module each; `pull_logs.cli.main` imports the one that is run."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
