"""EMERGE (Zhu et al., CIKM 2024): outcomes of intensive care from time series, clinical notes and a knowledge graph."""
