"""How values of runs relate: which settings matter, power laws, and what cannot be improved on."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
