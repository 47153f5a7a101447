"""The commands that draw: `report` and `plot`."""
