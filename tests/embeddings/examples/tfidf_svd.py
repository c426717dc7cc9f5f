"""A few short texts are enough to learn from."""

OPTIONS = {"min_documents": 1}
