# Each target sets up what it needs: a virtual environment in .venv with the pinned requirements of pyproject.toml,
# by uv where it is installed, else by pip.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
UV := $(shell command -v uv 2>/dev/null)

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
	$(RUN) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); print(*p["project"]["dependencies"], *p["dependency-groups"]["dev"], sep="\n")' > $(VENV)/requirements.txt
	$(RUN) -m pip install --quiet --requirement $(VENV)/requirements.txt
endif
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
