"""`archive`: many projects, night after night."""
