# Everything runs in .venv; see CONTRIBUTING.md.
.PHONY: test exhaustive without-tensorflow pythons lint docs dist ci

.venv/installed: pyproject.toml
	python3 -m venv .venv
	.venv/bin/pip install -q -e '.[test]'
	touch .venv/installed

test: .venv/installed
	.venv/bin/python -m pytest -m 'not slow and not clients and not exhaustive'

exhaustive: .venv/installed
	.venv/bin/python -m pytest -m exhaustive --durations=15

# What a machine that only restores has: docs/restoring.md.
.venv-small/installed: requirements/restore.txt
	python3 -m venv .venv-small
	.venv-small/bin/pip install -q -r requirements/restore.txt pytest
	touch .venv-small/installed

without-tensorflow: .venv-small/installed
	.venv-small/bin/python -m pytest -q -o addopts= tests/core

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff check --preview --select PLW1514 tf_deconv examples benchmarks *.py
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

# The fast tests under every Python that the package is for and that is found here.
pythons:
	@for version in 3.10 3.11 3.12 3.13; do \
	  command -v python$$version >/dev/null && python$$version -c '' 2>/dev/null \
	    || { echo "Python $$version: not found here"; continue; }; \
	  echo "Python $$version:"; \
	  python$$version -m venv .venv-$$version \
	    && .venv-$$version/bin/pip install -q -e '.[test]' \
	    && .venv-$$version/bin/python -m pytest -q -m 'not slow and not clients and not exhaustive' \
	    || exit 1; \
	done

# The source archive, and the wheel that is built from it: RELEASING.md.
.venv-dist/installed: Makefile
	python3 -m venv .venv-dist
	.venv-dist/bin/pip install -q build twine 'setuptools>=77'
	touch .venv-dist/installed

dist: .venv-dist/installed
	rm -rf build dist
	.venv-dist/bin/python -m build -n -o dist . >dist.log || { cat dist.log; exit 1; }
	rm -rf build
	.venv-dist/bin/python -m build -n --wheel -o dist/checkout . >dist.log || { cat dist.log; exit 1; }
	rm -rf build dist.log
	.venv-dist/bin/twine check --strict dist/*.whl dist/*.tar.gz
	.venv-dist/bin/python .ci/check_dist.py dist

# Into site/, which any static host serves; site/index.html opens without one too.
docs: .venv/installed
	.venv/bin/pip install -q -e '.[docs]'
	.venv/bin/python -m sphinx -q -W --keep-going -c docs . site

ci:
	.ci/run
