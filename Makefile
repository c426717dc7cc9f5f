# Each target sets up what it needs: a virtual environment in .venv with the pinned requirements of pyproject.toml,
# by uv where it is installed, else by pip.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
UV := $(shell command -v uv 2>/dev/null)

define PINS
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
print(*project["project"]["dependencies"], *project["dependency-groups"]["dev"], sep="\n")
endef
define CONSTRAINTS
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["uv"]["constraint-dependencies"], sep="\n")
endef
export PINS CONSTRAINTS

.PHONY: demo test check clean

demo: $(VENV)/installed
	$(RUN) src/main.py --stage all --config configs/synthetic.toml

test: check

check: $(VENV)/installed
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest

$(VENV)/installed: pyproject.toml
ifneq ($(UV),)
	uv sync
else
	$(PYTHON) -m venv $(VENV)
	$(RUN) -c "$$PINS" > $(VENV)/requirements.txt
	$(RUN) -c "$$CONSTRAINTS" > $(VENV)/constraints.txt
	$(RUN) -m pip install --quiet --requirement $(VENV)/requirements.txt --constraint $(VENV)/constraints.txt
endif
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
