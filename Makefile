PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-build-isolation -c requirements/constraints.txt

.PHONY: quickstart test docs matrix install clean

# Threads that wait by spinning would take the cores from each other beside other work.
quickstart: $(VENV)/pretrain.stamp  ## pre-train a tiny ViT on digits and look at it
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -W ignore tools/quickstart.py

test: $(VENV)/tests.stamp  ## ruff and every test, on the CPU
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

docs: $(VENV)/docs.stamp  ## the site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site is in site/index.html"

matrix: $(VENV)/pretrain.stamp  ## the wheel in several environments
	$(BIN)/python -m tests.environments.matrix

install: $(VENV)/pretrain.stamp

# A stamp is written when its installation is complete, and is older than what it was made from
# as soon as a pin changes.
$(VENV)/pretrain.stamp: requirements/constraints.txt setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "mmwamim needs Python >= 3.10: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what pre-training needs into $(VENV) (a few GB to download)"
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet 'setuptools>=77,<82' wheel
	$(INSTALL) --editable '.[onedl,quickstart]'
	@touch $@

$(VENV)/tests.stamp: $(VENV)/pretrain.stamp requirements/mmcv_ops.sh requirements/transformers.txt
	$(INSTALL) --editable '.[tests]'
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(VENV)/transformers \
		-r requirements/transformers.txt
	requirements/mmcv_ops.sh $(BIN)/python
	@touch $@

$(VENV)/docs.stamp: $(VENV)/pretrain.stamp
	$(INSTALL) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build site quickstart mmwamim.egg-info
