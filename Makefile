# The verbs of the project; `make help` lists them.

.PHONY: help run check test differential e2e fuzz instructions pieces bench docs

help: ## List the verbs
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: ## Serve the bundled demo on 127.0.0.1:5300
	cargo run -- serve

check: ## Formatting, lints, documentation, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --no-deps --document-private-items
	cargo deny --all-features check licenses bans sources

test: ## Everything that needs nothing but the toolchain
	cargo test

differential: ## A million questions to the server and to the oracle of tests/integration/differential
	MUSTER_DIFFERENTIAL=1000000 cargo test --release --test integration differential:: -- --nocapture

fuzz: ## One minute for each target of fuzz/ (needs a nightly toolchain; installs cargo-fuzz)
	.ci/fuzz 60

instructions: ## Instructions an answer takes, against benches/instructions/bounds (needs valgrind)
	.ci/instructions

pieces: ## How long parsing, looking up, answering and compiling take, each for itself (criterion)
	cargo bench --bench pieces -- $(BENCH)

e2e: ## Against real Consul, etcd and kube-apiserver (needs Go 1.26, BIND, dig, curl, root or sudo for Debian packages the first time)
	tests/rig/install
	cargo test --test e2e -- --ignored --test-threads=1 --nocapture

bench: ## Against a bare echo, Knot and NSD, into docs/PERFORMANCE.md (Debian packages knot and nsd: benches/install)
	cargo bench --bench load -- $(BENCH)
