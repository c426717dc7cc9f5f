"""Stage ``convert``: raw files into tables."""
