"""Event files of TensorBoard: finding the runs, reading their records, and making rows of them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
