"""Commands that check a bundle against its manifest and its source."""
