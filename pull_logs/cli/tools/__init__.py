"""The tools of `pull-logs mcp`: questions of agents, answered as the commands answer them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
