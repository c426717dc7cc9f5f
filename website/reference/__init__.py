"""The reference: pages that are written from the code, so that nothing stands twice."""
