"""Proof that a bundle holds what its source has: each run is compared with the source, part by part.

`against_wandb` asks W&B again and gives each run a verdict: whether it may be deleted there. A verdict is
never a guess: a part that could not be requested or compared makes a run not safe.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
