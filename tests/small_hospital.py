"""A generated hospital small enough to run the whole pipeline in a test."""

CONFIG = """
dataset = "synthetic"
run_name = "small"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
[source]
name = "synthetic"
stays = 220
[download]
primekg = "none"
[model]
hidden_size = 16
experts = []
[training]
members = 1
max_epochs = 4
bootstrap_resamples = 50
"""
