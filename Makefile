# What each target does and how long it takes: README, "Building and testing".
CARGO ?= cargo
# One target folder for everything; each fuzz target runs this long.
FUZZ_SECONDS ?= 60

.PHONY: check test soak bench deps clients fmt lint unit loom proxy fuzz crds cluster cluster-down

## check: the quick part: format, lints, unit tests, the codec's tables
check: fmt lint unit

## test: installs what the tests need and runs everything
test: deps fmt lint unit loom proxy fuzz

## soak: the long versions of what `test` runs in short
soak: deps
	LASTCALL_SOAK=1 $(CARGO) test --test proxy --test traffic -- --test-threads=1 --nocapture

## bench: what the gate costs; CPU per request against HAProxy and nginx, in one run
bench:
	tests/install.sh bench
	$(CARGO) bench --bench gate
	$(CARGO) bench --bench yardstick

deps:
	tests/install.sh test

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

unit:
	$(CARGO) test --workspace --exclude gate-loom --lib --bins --test codec --test structure --test crds

loom:
	$(CARGO) test -p gate-loom

# Real sockets, real processes, real clients.
proxy:
	$(CARGO) test --workspace --exclude gate-loom --exclude lastcall-fuzz --test '*'

fuzz:
	LASTCALL_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test -p lastcall-fuzz

## crds: writes crds/ anew from the types
crds:
	LASTCALL_WRITE_CRDS=1 $(CARGO) test --test crds

## cluster: installs, builds and starts a Kubernetes of one node for the tests (docs/cluster.md)
cluster:
	@test -n "$$KUBECONFIG" || tests/install.sh cluster
	@tests/cluster/up
	@echo 'Use it:  tests/cluster/enter kubectl get pods --all-namespaces'
	@echo 'End it:  make cluster-down'

## cluster-down: stops it and takes away all that it made
cluster-down:
	@tests/cluster/down
