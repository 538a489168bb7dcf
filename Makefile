.DEFAULT_GOAL := help
.PHONY: help run test quick check lint format lock settings assets screenshots bench chaos load
PYTEST := .venv/bin/python -m pytest --numprocesses auto --dist worksteal

help:  ## Print this list.
	@sed -n 's/^\([a-z]*\):.*##\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run:  ## Install what is missing, start everything on this machine, and print the address when it is ready.
	@bin/install
	@exec .venv/bin/python -m novai_web.embedded --with-parent

test:  ## Install what the tests need and run every one, on all cores.
	@bin/system-packages
	@bin/install dev
	$(PYTEST)

quick:  ## Run the tests that take less than about ten seconds each.
	@bin/install dev
	$(PYTEST) -m "not slow"

check: lint test  ## Do all that CI does: the linters, the types, the import rules, every test.

lint:  ## Check style, formatting, types, and who imports whom.
	@bin/install dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

format:  ## Format the code and mend what the linter can mend by itself.
	@bin/install dev
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock:  ## Write the lock files anew from requirements.in and requirements-dev.in, with the newest allowed versions.
	@bin/install dev
	cd bin && echo uv | ../.venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --output-file uv.txt -
	.venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --output-file requirements.txt requirements.in
	.venv/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" --output-file requirements-dev.txt requirements-dev.in

settings:  ## Write .env.example anew from the settings.
	@bin/install
	.venv/bin/python bin/settings > .env.example

assets:  ## Build static/dist from assets/ with npm; the result is committed, so that nothing else needs Node.
	npm ci --ignore-scripts --no-fund --no-audit
	npm run build

screenshots:  ## Write a picture of every page, in both themes at three widths, into docs/screenshots; about ten minutes.
	@bin/system-packages
	@bin/install dev
	.venv/bin/python bin/screenshots

bench:  ## Measure how many times faster variants are made than by one FFmpeg process for each; about an hour.
	@bin/install dev
	.venv/bin/python -m bench.variants

chaos:  ## Kill, pause and cut everything while people use NOVAI, and count what that broke; about twenty minutes.
	@bin/install dev
	.venv/bin/python -m bench.chaos --seeds 3 --ablations

load:  ## Let a thousand people use NOVAI and measure how it serves them; about five minutes.
	@bin/install dev
	.venv/bin/python -m bench.load
