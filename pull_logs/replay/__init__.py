"""Network out: a W&B-compatible read server over bundles."""
