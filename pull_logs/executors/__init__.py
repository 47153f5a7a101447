"""Executors: one function for many tasks, in this process, in others, or on a Dask cluster.

A task is a small frozen dataclass that can be pickled; it says what to read, and the worker reads it itself.
Answers come back in the order of the tasks, so that nothing depends on which worker was faster.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
