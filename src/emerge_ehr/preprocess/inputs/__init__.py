"""Reads and checks the tables for ``preprocess`` and ``predict``."""
