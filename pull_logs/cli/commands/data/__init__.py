"""Commands that show what a run logged besides its metrics."""
