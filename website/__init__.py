"""The website of the project: its pages are docs/, the root's documents, and a reference that is written from the code."""
