"""The health flags: what went wrong in a run, and from which step on.

`flags` puts them together, from what `outcomes` finds in losses and scores, `optimization` in norms of
gradients and in learning rates, and `pace` in speeds and times. All of them judge `curves`. docs/health.md
has the definitions with their numbers, and the rates at which they are right.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
