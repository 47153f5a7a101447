"""Names that are near what was written, for messages that say "did you mean"."""
