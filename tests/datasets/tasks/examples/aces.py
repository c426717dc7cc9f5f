"""A task by labels in the schema of MEDS, whose outcome is one of those that the generated hospital has."""

OPTIONS = {"labels": "labels", "label_code": "sepsis"}
