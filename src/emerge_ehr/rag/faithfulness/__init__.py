"""Checks summaries by their words: every disease, value and relation stated is looked for in the patient's evidence."""
