# Every command does its own set-up, below build/, dist/ and target/.
PYTHON ?= python3
FUZZ_SECONDS ?= 60
TOOLS := build/tools/bin
BENCH := build/bench/venv/bin

.PHONY: help build wheel test bench demo lint deny fuzz reliability clean

help:
	@echo "make demo   a real buildout, then the same without network from the cache"
	@echo "make test   all tests, with real buildouts of five versions"
	@echo "make bench  everything that is measured, and docs/performance.md from it"
	@echo "make lint   formatting, lints, documentation"
	@echo "make deny   licences and sources of the dependencies"
	@echo "make reliability  all that can happen to a cache, and the table of docs/reliability.md"
	@echo "make fuzz   hostile bytes to every parser, for FUZZ_SECONDS each (60)"
	@echo "make build  the eggcache program: target/release/eggcache"
	@echo "make wheel  the Python package with the program in it: dist/"

build:
	cargo build --release --locked

$(TOOLS)/python:
	$(PYTHON) -m venv build/tools
	$(TOOLS)/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt

wheel: build $(TOOLS)/python
	mkdir -p python/eggcache/_bin
	cmp -s target/release/eggcache python/eggcache/_bin/eggcache || cp target/release/eggcache python/eggcache/_bin/
	rm -f dist/*.whl
	@echo "building the wheel"
	@$(TOOLS)/maturin build --release --locked --out dist >build/maturin.log 2>&1 || { cat build/maturin.log; exit 1; }

test: wheel
	cargo test --locked --quiet
	$(TOOLS)/python -m pytest tests/buildout tests/benches tests/browser

bench: build $(BENCH)/uv
	cargo build --release --locked --quiet --examples
	$(PYTHON) benches/bench.py $(SECTIONS)
	$(BENCH)/python benches/report.py

$(BENCH)/uv: benches/requirements.txt
	$(PYTHON) -m venv --clear build/bench/venv
	$(BENCH)/python -m pip install -q --disable-pip-version-check -r benches/requirements.txt
	touch $@

demo: wheel
	$(TOOLS)/python docs/demo/demo.py

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --document-private-items --quiet

deny: build/tools/cargo/bin/cargo-deny
	build/tools/cargo/bin/cargo-deny --locked check licenses bans sources

build/tools/cargo/bin/cargo-deny:
	cargo install --quiet --locked --version '^0.20' --root build/tools/cargo cargo-deny

reliability: COUNTS := $(CURDIR)/build/reliability.jsonl
reliability:
	mkdir -p build
	rm -f $(COUNTS)
	EGGCACHE_THOROUGH=1 EGGCACHE_COUNTS=$(COUNTS) cargo test --locked --quiet --test reliability
	EGGCACHE_COUNTS=$(COUNTS) $(MAKE) fuzz
	$(PYTHON) tests/reliability/table.py $(COUNTS)

fuzz: build/tools/cargo/bin/cargo-fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run.sh

build/tools/cargo/bin/cargo-fuzz:
	cargo install --quiet --locked --version '^0.13' --root build/tools/cargo cargo-fuzz

clean:
	rm -rf build dist target python/eggcache/_bin fuzz/target fuzz/corpus fuzz/artifacts fuzz/logs
