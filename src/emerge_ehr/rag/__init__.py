"""The knowledge half of the method: mentions, entities, linking, retrieval, summaries, and whether these are faithful."""
