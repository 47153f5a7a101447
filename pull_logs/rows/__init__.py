"""Rows and columns: canonical form, cells, batches, layout, hashing, and the merge of rows of one step.

Everything else is built on this package, so its modules are imported directly.
"""
