"""Disk: rows, columns, Parquet, the bundle and its checks."""
