"""Stores of MLflow: its SQLite database, its file store, and its tracking server."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
