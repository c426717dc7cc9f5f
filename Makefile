# Each target sets up what it needs: a virtual environment in .venv with the pinned requirements of pyproject.toml,
# by uv where it is installed, else by pip.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# the tests in two processes: one after the other of what was collected, so that a room's fixtures are mostly built once
TWO := -n 2 --dist worksteal
UV := $(shell command -v uv 2>/dev/null)

define PINS
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
print(*project["project"]["dependencies"], *project["dependency-groups"]["test"], *project["build-system"]["requires"], sep="\n")
endef
define CONSTRAINTS
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["uv"]["constraint-dependencies"], sep="\n")
endef
define SUPPLY
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["supply"], sep="\n")
endef
define LLAMA
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["llama"], sep="\n")
endef
define DOCS
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["docs"], sep="\n")
endef
define ACES
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["aces"], sep="\n")
endef
export PINS CONSTRAINTS SUPPLY LLAMA DOCS ACES
# modules are compiled once, not by each of the hundreds of processes that tests start
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-all docs llama aces check sbom vulnerabilities clean

demo: $(VENV)/installed
	$(RUN) src/main.py --stage all --config configs/synthetic.toml

test: check

check: $(VENV)/installed
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy --num-workers 2
	$(RUN) -m pytest $(TWO)

# what the gate leaves out and CI runs: whole pipelines, clusters, kills, a browser; 20 minutes or so
test-slow: $(VENV)/installed $(VENV)/aces/installed
	$(RUN) -m pytest $(TWO) -m "slow and not full" --durations=10

# every test there is, hundreds of kills and a thousand patients of a failing language model among them; two hours or so
test-all: $(VENV)/installed $(VENV)/llama/installed $(VENV)/aces/installed
	$(RUN) -m pytest -m "slow or not slow" --durations=25

# the website, in build/website/site: pages from docs/ and from the code, built strictly, every link checked, nothing fetched
docs: $(VENV)/installed $(VENV)/docs/installed
	$(RUN) -m website build/website
	$(VENV)/docs/bin/zensical build --strict --clean --config-file build/website/zensical.toml
	$(RUN) -m website.links build/website/site

$(VENV)/docs/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)/docs
	$(PYTHON) -c "$$DOCS" > $(VENV)/docs/requirements.txt
	$(VENV)/docs/bin/pip install --quiet --no-deps --requirement $(VENV)/docs/requirements.txt
	touch $@

# a real server of a small language model (docs/llm_servers.md): compiled, in ten minutes or so, for any CPU of its kind
llama: $(VENV)/llama/installed

$(VENV)/llama/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)/llama
	$(PYTHON) -c "$$LLAMA" > $(VENV)/llama/requirements.txt
	CMAKE_ARGS="-DGGML_NATIVE=OFF" $(VENV)/llama/bin/pip install --quiet --requirement $(VENV)/llama/requirements.txt
	touch $@

# the command aces-cli (docs/meds.md), in an environment of its own since es-aces needs an older polars; half a minute
aces: $(VENV)/aces/installed

$(VENV)/aces/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)/aces
	$(PYTHON) -c "$$ACES" > $(VENV)/aces/requirements.txt
	$(VENV)/aces/bin/pip install --quiet --requirement $(VENV)/aces/requirements.txt
	touch $@

# what is installed, as CycloneDX, for whoever must clear software for a hospital network
sbom: $(VENV)/installed $(VENV)/supply/installed
	$(VENV)/supply/bin/cyclonedx-py environment --output-reproducible --output-file sbom.json $(RUN)

# known vulnerabilities of what is installed; asks pypi.org
vulnerabilities: $(VENV)/installed $(VENV)/supply/installed
	$(VENV)/supply/bin/pip-audit --strict --path $$($(RUN) -c "import sysconfig; print(sysconfig.get_path('purelib'))")

$(VENV)/supply/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)/supply
	$(RUN) -c "$$SUPPLY" > $(VENV)/supply/requirements.txt
	$(VENV)/supply/bin/pip install --quiet --requirement $(VENV)/supply/requirements.txt
	touch $@

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Python 3.11 or later is needed, and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12 demo")'
ifneq ($(UV),)
	uv sync --group test
else
	$(PYTHON) -m venv $(VENV)
	$(RUN) -c "$$PINS" > $(VENV)/requirements.txt
	$(RUN) -c "$$CONSTRAINTS" > $(VENV)/constraints.txt
	$(RUN) -m pip install --quiet --requirement $(VENV)/requirements.txt --constraint $(VENV)/constraints.txt
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
endif
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache
