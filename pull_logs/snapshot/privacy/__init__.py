"""Secrets and personal data: the patterns, the audit and the redaction of a bundle."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
