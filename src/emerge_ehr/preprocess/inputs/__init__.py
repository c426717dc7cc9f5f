"""The tables that ``preprocess`` and ``predict`` read, checked."""
