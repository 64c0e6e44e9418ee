# Each target installs what it needs into build/, dist/ and target/.
PYTHON ?= python3
# How long `make fuzz` tries each target, and `make reliability` lets processes fight over one cache.
FUZZ_SECONDS ?= 60
STRESS_SECONDS ?= 3600
# Whether `make test` tries most tests of buildout on one or two of its five versions; empty for all.
SAMPLE ?= 1
TOOLS := build/tools/bin
INSTALL_TOOL := cargo install --config profile.dev.debug=false --debug --quiet --locked --root build/tools/cargo
CORES := $(shell getconf _NPROCESSORS_ONLN)
# More tests at once than cores: some wait for the disk, or for a limit of time.
PYTEST_AT_ONCE := $(TOOLS)/python -m pytest -n $(shell expr $(CORES) + 1)
BENCH := build/bench/venv/bin

# Random configurations of `make differential`.
SEEDS := 100-299

.PHONY: help build wheel wheel-manylinux wheel-release release-check deb docs test matrix parity application \
	differential upstream azure bench scale demo lint deny fuzz reliability check-macos clean

help:
	@echo "make demo   run a real buildout, then the same one without network from the cache"
	@echo "make test   run all tests, with real buildouts of five versions"
	@echo "make matrix try every Python of this machine with every zc.buildout, for hours; CELLS=REGEX tries some"
	@echo "make parity compare the eggs of 330 wheels with those of pip; CELLS=REGEX and WHEELS=NUMBER choose some"
	@echo "make application  run Zope from converted eggs and from those of pip, and compare all that they do"
	@echo "make differential  compare 200 random configurations with and without the cache; SEEDS=FIRST-LAST chooses"
	@echo "make upstream run the tests of zc.buildout itself with the cache; RUNS=REGEX and TESTS=REGEX choose some"
	@echo "make azure  test remotes with an emulator of Azure Storage as well (needs npm)"
	@echo "make bench  run all measurements and write docs/explanation/performance.md"
	@echo "make scale  simulate remotes of all sizes and write docs/explanation/scale.md"
	@echo "make docs   write docs/reference/cli.md from the --help texts"
	@echo "make lint   check formatting, lints and documentation, and the package with the oldest Python found"
	@echo "make check-macos  compile for macOS, with the lints"
	@echo "make deny   check licenses and sources of the dependencies"
	@echo "make reliability  run the complete test matrices and update docs/explanation/reliability.md"
	@echo "make fuzz   fuzz every parser, for FUZZ_SECONDS each (default: 60)"
	@echo "make build  build the eggcache program: target/release/eggcache"
	@echo "make wheel  build the Python package with the program in it: dist/"
	@echo "make wheel-manylinux  build and test the same for other machines: build/manylinux/"
	@echo "make wheel-release TARGET=T COMPATIBILITY=C LINKS=URL  build it for another machine: build/release/T/"
	@echo "make release-check TAG=vVERSION LINKS=URL  check versions, metadata and the source distribution"
	@echo "make deb    build and test a Debian package: build/deb/"

build:
	cargo build --release --locked

$(TOOLS)/python: $(TOOLS)/pytest

$(TOOLS)/pytest: tests/requirements.txt
	$(PYTHON) -m venv build/tools
	$(TOOLS)/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
	touch $@

# The program inside the package. In every run, buildout hashes the files of site-packages that a recipe
# depends on, except those whose names end in "pyc"; the name saves 10 ms (_bridge.py looks for it).
INSIDE := python/eggcache/_bin/eggcache-not-pyc

# maturin tags wheels that hold a program with Python 3 only. The date is that of the other files.
FOR_ALL_PYTHONS := SOURCE_DATE_EPOCH=315532800 $(TOOLS)/python -m wheel tags --remove --python-tag py2.py3

# A wheel for this machine. Its platform is plain `linux`: setuptools before 2021, as in buildout 2 and in
# Python 2.7, knows no `manylinux` with the number of a recent glibc, and so would not find the wheel.
wheel: build $(TOOLS)/python
	mkdir -p python/eggcache/_bin
	cmp -s target/release/eggcache $(INSIDE) || cp target/release/eggcache $(INSIDE)
	rm -f dist/*.whl
	@echo "building the wheel"
	@$(TOOLS)/maturin build --release --locked --compatibility linux --out dist >build/maturin.log 2>&1 \
		|| { cat build/maturin.log; exit 1; }
	$(FOR_ALL_PYTHONS) dist/eggcache-*.whl >/dev/null
	@ls dist/eggcache-*.whl

# A wheel that pip accepts on any Linux of the last ten years: zig links against the glibc of
# manylinux2014.
wheel-manylinux: $(TOOLS)/auditwheel
	@echo "building the wheel twice with zig"
	sh packaging/wheel.sh $(CURDIR)/$(TOOLS)/python x86_64-unknown-linux-gnu manylinux2014 build/manylinux
	$(TOOLS)/python -m pytest tests/packages/test_wheel.py
	EGGCACHE_WHEEL=$$(echo build/manylinux/eggcache-*.whl) \
		$(TOOLS)/python -m pytest tests/buildout/test_second_buildout.py tests/buildout/test_extension.py \
		tests/buildout/test_old_pythons.py

# Runs a command that builds a distribution, with the links of README.md leading to the files below the URL LINKS.
WITH_LINKS := $(TOOLS)/python packaging/description.py README.md "$(LINKS)"

# The same for another machine. It is not tried: it may not run here.
wheel-release: $(TOOLS)/auditwheel
	$(WITH_LINKS) sh packaging/wheel.sh $(CURDIR)/$(TOOLS)/python $(TARGET) $(COMPATIBILITY) build/release/$(TARGET)
	$(TOOLS)/python -m twine check --strict build/release/$(TARGET)/*.whl

# All of a release that can be checked before it. TAG is its tag, if it has one already.
release-check: $(TOOLS)/auditwheel
	$(WITH_LINKS) $(TOOLS)/python packaging/release_check.py build/release $(TAG)

$(TOOLS)/auditwheel: tests/packages/requirements.txt $(TOOLS)/python
	$(TOOLS)/python -m pip install -q --disable-pip-version-check -r tests/packages/requirements.txt
	touch $@

DEB := build/deb
deb: build build/tools/cargo/bin/cargo-deb $(TOOLS)/python
	rm -rf $(DEB)
	mkdir -p $(DEB)/bash $(DEB)/zsh $(DEB)/fish
	target/release/eggcache --quiet man --out $(DEB)/man
	target/release/eggcache completions bash >$(DEB)/bash/eggcache
	target/release/eggcache completions zsh >$(DEB)/zsh/_eggcache
	target/release/eggcache completions fish >$(DEB)/fish/eggcache.fish
	build/tools/cargo/bin/cargo-deb --quiet --no-build --no-strip --output $(DEB)/
	$(TOOLS)/python -m pytest tests/packages/test_deb.py

build/tools/cargo/bin/cargo-deb:
	$(INSTALL_TOOL) --version '^3.8' cargo-deb

test: wheel
	cargo test --locked --quiet -- --test-threads $(shell expr 2 \* $(CORES))
	EGGCACHE_SAMPLE=$(SAMPLE) $(PYTEST_AT_ONCE) tests/python tests/buildout tests/benches tests/browser \
		$(addprefix tests/packages/test_,description.py editable.py release.py workflows.py)
	$(PYTEST_AT_ONCE) tests/remote

matrix: wheel
	$(TOOLS)/python tests/matrix/matrix.py "$(CELLS)"

parity: build
	$(PYTHON) tests/parity/parity.py "$(CELLS)" "$(WHEELS)"

application: wheel
	$(PYTHON) tests/application/application.py

differential: wheel
	EGGCACHE_SEEDS=$(SEEDS) EGGCACHE_CONFIGURATIONS=100 $(PYTEST_AT_ONCE) \
		tests/buildout/test_differential.py tests/buildout/test_fetching_ahead.py \
		tests/buildout/test_speedups.py

upstream: wheel
	$(TOOLS)/python tests/upstream/upstream.py "$(RUNS)" "$(TESTS)"

azure: build $(TOOLS)/python build/tools/azurite/node_modules/.bin/azurite-blob
	EGGCACHE_AZURITE=$(CURDIR)/build/tools/azurite/node_modules/.bin/azurite-blob \
		$(TOOLS)/python -m pytest tests/remote/test_stores.py

build/tools/azurite/node_modules/.bin/azurite-blob:
	npm install --silent --no-audit --no-fund --prefix build/tools/azurite azurite@3.35.0

bench: build $(BENCH)/uv
	cargo build --release --locked --quiet --examples
	$(PYTHON) benches/bench.py $(SECTIONS)
	$(BENCH)/python benches/report.py

$(BENCH)/uv: benches/requirements.txt
	$(PYTHON) -m venv --clear build/bench/venv
	$(BENCH)/python -m pip install -q --disable-pip-version-check -r benches/requirements.txt
	touch $@

scale:
	$(PYTHON) benches/scale.py

docs:
	EGGCACHE_WRITE_DOCS=1 cargo test --locked --quiet --lib the_reference

demo: wheel
	$(TOOLS)/python docs/demo/demo.py

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --locked --no-deps --document-private-items --quiet
	$$($(PYTHON) tests/python/pythons.py) -B tests/compiles.py python/eggcache

# It has ziglang, with which this compiles.
check-macos: $(TOOLS)/auditwheel
	sh packaging/check_macos.sh $(CURDIR)/$(TOOLS)/python

deny: build/tools/cargo/bin/cargo-deny
	build/tools/cargo/bin/cargo-deny --locked check licenses bans sources

build/tools/cargo/bin/cargo-deny:
	$(INSTALL_TOOL) --version '^0.20' cargo-deny

reliability: COUNTS := $(CURDIR)/build/reliability.jsonl
reliability:
	mkdir -p build
	rm -f $(COUNTS)
	EGGCACHE_THOROUGH=1 EGGCACHE_STRESS_SECONDS=$(STRESS_SECONDS) EGGCACHE_COUNTS=$(COUNTS) \
		cargo test --locked --quiet --test reliability
	EGGCACHE_COUNTS=$(COUNTS) $(MAKE) fuzz
	$(PYTHON) tests/reliability/table.py $(COUNTS)

fuzz: build/tools/cargo/bin/cargo-fuzz
	FUZZ_SECONDS=$(FUZZ_SECONDS) fuzz/run.sh

build/tools/cargo/bin/cargo-fuzz:
	$(INSTALL_TOOL) --version '^0.13' cargo-fuzz

clean:
	rm -rf build dist target python/eggcache/_bin fuzz/target fuzz/corpus fuzz/artifacts fuzz/logs
