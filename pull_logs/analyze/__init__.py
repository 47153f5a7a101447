"""Answers: expressions, frames, schema, statistics, comparison."""
