"""Many runs read on an engine: in this thread, in threads, in processes or on a cluster."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
