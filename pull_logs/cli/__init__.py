"""The edge: arguments in, sections or JSON out; the only place that prints."""
