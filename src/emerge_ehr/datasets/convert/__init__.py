"""Stage ``convert``: turns raw files into tables."""
