"""The items of MIMIC that the benchmark's signals are read from: itemid -> signal."""

from emerge_ehr.signals import items

ITEMS = items.read("benchmark", "mimic")
CHART = {int(item.name): item.code for item in ITEMS if item.table == "chart"}
LAB = {int(item.name): item.code for item in ITEMS if item.table == "lab"}
CAREVUE = {int(item.name): item.code for item in items.read("benchmark", "mimic3")}
