"""Network in: W&B runs, whole and unsampled, many at once."""
