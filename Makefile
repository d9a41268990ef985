# Set-up, demo and tests. `make` alone lists the targets.
#
# Every target that needs .venv builds it on first use, from the lock of its Python and EXTRA in
# locks/; while the locks and pyproject.toml stay the same, it is not touched again.

# The interpreter that .venv is made with.
PYTHON ?= python3
# Address of PyTorch's own CPU wheel index, where pip's index lacks the CPU builds.
TORCH_INDEX ?=
# cpu or gpu; what .venv was built for, where there is one.
EXTRA ?= $(or $(patsubst .venv/.ready-%,%,$(firstword $(wildcard .venv/.ready-*))),cpu)

READY := .venv/.ready-$(EXTRA)
TORCH := $(shell grep '^torch==' locks/torch-cpu.txt)
# Looked up when it is used, and .venv is there.
LOCK = locks/$(EXTRA)-py$(shell .venv/bin/python -c 'import sys; print(*sys.version_info[:2], sep="")').txt
# Arguments of `make lock` for uv.
OPTIONS ?=
PIP := .venv/bin/python -m pip --disable-pip-version-check

.PHONY: help venv demo test pytest test-cluster bench docs lint lock check-gpu-wheels clean

help:
	@echo 'make demo    raise two rare classes of Reuters R8 to 160 texts each, into runs/demo'
	@echo 'make test    lint, types and tests (the long ones: make test-cluster)'
	@echo 'make test-cluster   kills, restarts and job submission, at length'
	@echo 'make bench   speed, compared with common alternatives'
	@echo 'make docs    the documents as a site, into build/site'
	@echo 'make lint    lint, types and layers only'
	@echo 'make venv    set up .venv only (the others do it by themselves)'
	@echo 'make lock    compile locks/ again, with the versions that are there (OPTIONS: of uv)'
	@echo 'make check-gpu-wheels   what the code calls, looked up in the locked GPU wheels'
	@echo 'make clean   remove caches, build leftovers and runs/demo; .venv stays'
	@echo
	@echo 'Variables: PYTHON=<interpreter>   3.11 to 3.13; now $(PYTHON)'
	@echo '           TORCH_INDEX=<address>  of PyTorch'"'"'s own CPU wheel index'
	@echo '           EXTRA=cpu|gpu          now $(EXTRA)'

venv: $(READY)

demo: $(READY)
	.venv/bin/smotext doctor
	.venv/bin/smotext augment --preset offline --input demo:reuters-r8 \
	  --sampling-strategy '{"grain": 160, "ship": 160}' --output runs/demo
	.venv/bin/smotext show runs/demo

test: lint pytest

# Two processes; tests/conftest.py says what they share and what begins first.
pytest: $(READY)
	HF_HUB_OFFLINE=1 .venv/bin/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder \
	  --durations=40 --durations-min=1 -m 'not long'

# All of tests/cluster, with ten kills of the driver instead of three, and what else takes long: an hour.
test-cluster: $(READY)
	HF_HUB_OFFLINE=1 SMOTEXT_KILLS=10 .venv/bin/python -m pytest -v --durations=15 -m 'cluster or long' tests/cluster
	HF_HUB_OFFLINE=1 .venv/bin/python -m pytest -v -n 2 --dist loadgroup --no-loadscope-reorder \
	  --durations=15 -m long tests --ignore tests/cluster

# Ratios measured side by side, in a quarter of an hour on two idle cores; runs/bench.
bench: $(READY)
	.venv/bin/python benchmarks/plan.py --output runs/bench/plan
	.venv/bin/python benchmarks/encode.py --output runs/bench/encode
	HF_HUB_OFFLINE=1 .venv/bin/python benchmarks/decode.py --output runs/bench/decode

# The documents as a site, strictly; build/site.
docs: $(READY)
	.venv/bin/python -m mkdocs build

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# uv in an environment of its own, in one version: another might write the files otherwise.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet uv==0.13.9
	build/lock/bin/python locks/compile.py $(OPTIONS)

# Not in CI: downloads some 440 MB into build/gpu-wheels.
check-gpu-wheels: $(READY)
	.venv/bin/python locks/check_gpu_wheels.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis runs/demo
	find . -path ./.venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

# .unfinished marks a .venv whose set-up was interrupted: pip takes a package that is only
# half written for an installed one, so such a .venv is rebuilt. So is one that was built
# for the other EXTRA.
$(READY): pyproject.toml $(wildcard locks/$(EXTRA)-*.txt locks/torch-$(EXTRA).txt)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info[:3] < (3, 14))' || { \
	  echo 'smotext-ray needs Python 3.11.5 to 3.13; name one with PYTHON=<interpreter>.' >&2; \
	  exit 1; }
	@[ "$$(uname -sm)" = 'Linux x86_64' ] || { \
	  echo 'The locks are for Linux on x86_64; elsewhere, install by hand as docs/index.md says.' >&2; \
	  exit 1; }
	@if [ -e .venv/.unfinished ] || [ -n '$(filter-out $(READY),$(wildcard .venv/.ready-*))' ]; \
	  then rm -rf .venv; fi
	@mkdir -p .venv && touch .venv/.unfinished && rm -f $(READY)
	$(PYTHON) -m venv .venv
	$(MAKE) --no-print-directory install-$(EXTRA)
	$(PIP) install --no-deps --no-build-isolation -e .
	@mv .venv/.unfinished $@ && touch $@

# torch first and alone: where only CUDA builds are to be had, this ends before gigabytes
# are loaded. Then just what is locked, and nothing is resolved.
.PHONY: install-cpu
install-cpu:
	$(PIP) install --no-deps $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') -r locks/torch-cpu.txt || { \
	  echo 'pip found no $(TORCH), the CPU build of PyTorch; name the address of' \
	    "PyTorch's own CPU wheel index: make demo TORCH_INDEX=<address>" >&2; \
	  exit 1; }
	$(PIP) install --no-deps --require-hashes -r $(LOCK)
	@.venv/bin/python -c 'import torch, sys; sys.exit(torch.version.cuda is not None)' || { \
	  echo 'The torch in .venv is not a CPU build; remove .venv and run make again.' >&2; exit 1; }

# For a host with a GPU. Compiled and compared with the cpu locks, but not installed by CI.
.PHONY: install-gpu
install-gpu:
	$(PIP) install --no-deps --require-hashes -r $(LOCK)
