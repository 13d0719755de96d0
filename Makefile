# Everything runs in .venv; see CONTRIBUTING.md.
.PHONY: test exhaustive without-tensorflow lint page ci

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
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

# All models on one page, ready to be served: docs/web.md.
page: .venv/installed
	.venv/bin/tf-deconv export all --web docs/page

ci:
	.ci/run
