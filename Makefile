# What each target does and how long it takes: README, "Building and testing".
CARGO ?= cargo
# All tests are built of one selection of packages: another one has other features, and so builds much again.
CARGO_TEST = $(CARGO) test --workspace --exclude gate-loom
# They are built static, as what is shipped is, so that the tests on Kubernetes put these very programs into their
# image. The target is named so that the flag is for the programs only: what runs in the compiler cannot be static.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
lint unit loom proxy fuzz apiserver e2e soak crds: export CARGO_BUILD_TARGET = $(HOST)
lint unit loom proxy fuzz apiserver e2e soak crds: export RUSTFLAGS = -C target-feature=+crt-static
# One target folder for everything; each fuzz target runs this long.
FUZZ_SECONDS ?= 12

.PHONY: check test test-kubernetes soak bench bench-peers deps clients fmt lint unit loom proxy fuzz apiserver e2e image crds cluster cluster-down

## check: the quick part: format, lints, unit tests, the codec's tables
check: fmt lint unit

## test: installs what the tests need and runs everything, on a Kubernetes of its own too (as root), which it takes down
test: deps fmt lint unit loom proxy fuzz apiserver e2e cluster-down

## test-kubernetes: what needs a Kubernetes, which is built once: its API server, and a whole cluster (as root)
test-kubernetes: apiserver e2e

## soak: the long versions of what `test` runs in short
soak: deps
	LASTCALL_SOAK=1 $(CARGO_TEST) --test proxy --test traffic -- --test-threads=1 --nocapture

## bench: CPU per request against HAProxy, nginx, Envoy and Pingora, in turns; what parts cost by themselves
# BENCH_WORK=http2-small,tls-small measures a part of it: cargo bench --bench yardstick -- --help
bench: bench-peers
	$(CARGO) bench --bench yardstick
ifndef BENCH_WORK
	$(CARGO) bench --bench micro
endif

# What Debian has not. A peer that cannot be had is left out, and the report says so.
bench-peers:
	tests/install.sh bench
	-$(CARGO) build --release --locked --manifest-path benches/floor/Cargo.toml --target-dir target/floor
	-$(CARGO) build --release --locked --manifest-path benches/pingora/Cargo.toml --target-dir target/pingora

deps:
	tests/install.sh test
	@test -n "$$KUBECONFIG" || tests/install.sh cluster

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

unit:
	$(CARGO_TEST) --lib --bins --test codec --test structure --test crds

loom:
	$(CARGO) test -p gate-loom

# Real sockets, real processes, real clients.
SOCKET_TESTS = demo lost_lastcall proxy real_clients smuggling test_support traffic
proxy:
	$(CARGO_TEST) $(addprefix --test ,$(SOCKET_TESTS))

# The files of fuzz/tests.
FUZZ_TARGETS = directory http1 http2 proxy_protocol router sni
fuzz:
	LASTCALL_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO_TEST) $(addprefix --test ,$(FUZZ_TARGETS))

## apiserver: what is observed of a kube-apiserver alone: of the cluster's build, or of KUBEBUILDER_ASSETS
apiserver:
	@test -n "$$KUBEBUILDER_ASSETS" || { tests/install.sh cluster && tests/cluster/build; }
	$(CARGO_TEST) --test apiserver

## e2e: lastcall by its chart on a real Kubernetes: on one of its own (docs/cluster.md), or that of KUBECONFIG
# What has to be fetched is built before, where there is a network.
e2e:
	@test -n "$$KUBECONFIG" || tests/install.sh cluster
	@tests/cluster/up
	$(CARGO_TEST) --test e2e --test lost_lastcall --no-run
	tests/cluster/enter $(CARGO_TEST) --test e2e -- --test-threads=$(E2E_THREADS)
# Most of what they do is wait for pods.
E2E_THREADS ?= 4

## image: lastcall's image, built with buildah from two static programs
image:
	tests/install.sh image
	tests/e2e/binaries release target/image
	buildah build --tag lastcall:$$(sed -n 's/^appVersion: //p' charts/lastcall/Chart.yaml) .

## crds: writes crds/ anew from the types
crds:
	LASTCALL_WRITE_CRDS=1 $(CARGO_TEST) --test crds

## cluster: installs, builds and starts a Kubernetes of one node for the tests (docs/cluster.md)
cluster:
	@test -n "$$KUBECONFIG" || tests/install.sh cluster
	@tests/cluster/up
	@echo 'Use it:  tests/cluster/enter kubectl get pods --all-namespaces'
	@echo 'End it:  make cluster-down'

## cluster-down: stops it and takes away all that it made
cluster-down:
	@tests/cluster/down
