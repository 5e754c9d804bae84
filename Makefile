# `make help` lists the targets.

.PHONY: help run check test differential e2e faults fuzz instructions pieces bench

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Serve the bundled demo on 127.0.0.1:5300
	cargo run -- serve

check: ## Check formatting, lints, documentation and licenses (needs cargo-deny)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --no-deps --document-private-items
	cargo deny --all-features check licenses bans sources

test: ## Run all tests that need nothing but the toolchain
	cargo test

differential: ## Compare a million answers with the oracle in tests/integration/differential
	MUSTER_DIFFERENTIAL=1000000 cargo test --release --test integration differential:: -- --nocapture

fuzz: ## Fuzz each target in fuzz/ for one minute (installs cargo-fuzz)
	.ci/fuzz 60

instructions: ## Count instructions per answer, and compare with benches/instructions/bounds (needs valgrind)
	.ci/instructions

pieces: ## Time parsing, lookup, answering and compiling, each on its own (criterion)
	cargo bench --bench pieces -- $(BENCH)

e2e: ## Test against real Consul, etcd and kube-apiserver (needs Go 1.26, BIND, dig, curl, root; see tests/rig)
	tests/rig/install
	cargo test --test e2e -- --ignored --test-threads=1 --nocapture --skip faults::

faults: ## Change, kill and starve real servers, and check every answer (needs what e2e needs)
	tests/rig/install
	cargo test --release --test e2e -- --ignored --test-threads=1 --nocapture faults::

bench: ## Measure next to a bare echo, Knot and NSD, into docs/PERFORMANCE.md (see benches/README.md)
	cargo bench --bench load -- $(BENCH)
