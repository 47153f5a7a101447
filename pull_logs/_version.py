"""The version of this release, in the one module that imports nothing."""

__version__ = "0.1.0"
