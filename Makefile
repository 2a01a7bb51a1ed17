# Two commands matter: `make run` opens the control room, `make test` proves it. Each sets up what is missing.
VENV   := .venv
PYTHON := $(VENV)/bin/python
PIP    := $(PYTHON) -m pip --disable-pip-version-check

.PHONY: run test test-slow faults slurm fuzz soak lint snapshots screenshots bench setup clean

run: $(VENV)/.installed ## set up what is missing and open the control room
	@$(VENV)/bin/lvm-tui $(ARGS)

setup: $(VENV)/.installed

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

test: lint ## lint, types, import contracts, tests
	$(PYTHON) -m pytest -n auto --dist loadfile -m "not slow and not faults and not slurm" $(ARGS)

test-slow: $(VENV)/.installed-dev ## what takes longer
	$(PYTHON) -m pytest -m slow $(ARGS)

faults: $(VENV)/.installed-dev ## inject every fault for real; TABLE=docs/faults.md writes the figures down, FAULTS_FULL=1 repeats in full
	FAULTS_TABLE=$(TABLE) $(PYTHON) -m pytest tests/faults -m faults $(ARGS)

slurm: $(VENV)/.installed-dev ## runs as jobs of a real Slurm, started on loopback for it; skipped with the reason where there is none
	$(PYTHON) -m pytest -m slurm -rs $(ARGS)

fuzz: $(VENV)/.installed-dev ## coverage-guided fuzzing of what strangers write; INPUTS=200000 tries more of each target
	$(PIP) install -q -c constraints.txt -e '.[fuzz]'
	$(PYTHON) tests/faults/fuzz.py $(INPUTS)

soak: $(VENV)/.installed-dev ## a room and two runs for ten minutes, all figures judged; SOAK_MINUTES=3 for less
	$(PYTHON) tests/faults/soak.py

snapshots: $(VENV)/.installed-dev ## redraw the snapshot files after a wanted change of the screen
	$(PYTHON) -m pytest tests/tui -m "not slow" --snapshot-update $(ARGS)

screenshots: $(VENV)/.installed-dev ## redraw the README's pictures from real runs
	$(PIP) install -q -c constraints.txt -e '.[screenshots]'
	$(PYTHON) benchmarks/screenshots.py

bench: $(VENV)/.installed ## ratios measured within one run
	$(VENV)/bin/lvm-engine bench

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@echo "Installing into $(VENV): torch is large, this takes a minute or two the first time."
	@$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV)
