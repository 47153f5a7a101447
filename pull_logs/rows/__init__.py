"""What a row and a column are: the canonical form, cells, batches, layout and the merge of rows of one step.

Everything else is built on this package, so its modules are imported directly.
"""
