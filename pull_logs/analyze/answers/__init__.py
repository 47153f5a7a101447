"""The answers: one run, several side by side, comparison, groups, overview and checkpoints."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
