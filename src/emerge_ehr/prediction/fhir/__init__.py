"""Patients as FHIR R4 bundles: what ``serve`` and ``predict`` read beside the project's own JSON and tables.

A bundle becomes the same ``requests.Patient`` objects as the service's own JSON, so that a patient has the same risk either way.
Whatever of a bundle is not read is counted by reason.
"""
