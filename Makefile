# Everything runs in .venv; see CONTRIBUTING.md.
.PHONY: test exhaustive lint ci

.venv/installed: pyproject.toml
	python3 -m venv .venv
	.venv/bin/pip install -q -e '.[test]'
	touch .venv/installed

test: .venv/installed
	.venv/bin/python -m pytest -m 'not slow and not clients and not exhaustive'

exhaustive: .venv/installed
	.venv/bin/python -m pytest -m exhaustive --durations=15

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

ci:
	.ci/run
