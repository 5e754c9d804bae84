# The verbs of the project; `make help` lists them.

.PHONY: help run check test e2e bench docs

help: ## List the verbs
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Serve the bundled demo on 127.0.0.1:5300
	cargo run -- serve

check: ## Formatting, lints, documentation, licences
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
	cargo deny --all-features check licenses bans sources

test: ## Everything that needs nothing but the toolchain
	cargo test

e2e: ## Against real Consul, etcd and kube-apiserver (needs Go 1.24+, root or sudo for Debian packages the first time)
	tests/rig/install
	cargo test --test e2e -- --ignored --test-threads=1 --nocapture

bench: ## Against a bare echo, Knot and NSD, into docs/PERFORMANCE.md (Debian packages knot and nsd: benches/install)
	cargo bench --bench load -- $(BENCH)
