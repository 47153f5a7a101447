"""Other ways in: checkpoints and local W&B run folders."""
