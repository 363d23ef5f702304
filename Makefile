# The commands of this project. `make demo` and `make test` need Debian, Rust and nothing else.

DB      ?= mariadb
ONCE    ?=
TARGET  := $(abspath $(or $(CARGO_TARGET_DIR),target))
# The program to show and to test; `make demo FOREBAY=` shows the site on the primary alone.
FOREBAY ?= $(TARGET)/release/forebay
STACK   := deploy/local/stack
SUITE   ?=
# The static program, and the image made of it.
MUSL    := $(shell uname -m)-unknown-linux-musl
STATIC  ?= $(TARGET)/image/forebay
ARCHIVE ?= $(TARGET)/image/forebay.tar
SCRIPTS := $(STACK) deploy/local/demo deploy/local/stranger tests/run tests/conformance/run tests/conformance/clean \
	benches/load/run benches/memory/run .ci/run deploy/assemble deploy/make-secrets \
	$(addprefix deploy/tests/,image runbooks backup readme manifests pods podsim/run) \
	$(wildcard deploy/components/*/*.sh deploy/components/*/scripts/*.sh)
DOCKERFILES := deploy/Dockerfile deploy/Dockerfile.builder deploy/overlays/redis-web/web/Dockerfile

.PHONY: help demo test conformance build static image image-test image-quick runbooks manifests pods podsim install lint shellcheck \
	hadolint deny fuzz bench leaks freshness stranger

help:
	@echo 'make demo [ONCE=1] [DB=mysql97]  a WordPress site through Forebay; Ctrl-C ends it'
	@echo 'make test                        everything: installs what it needs'
	@echo 'make conformance [SUITE=php]     tests of MariaDB, PHP, PyMySQL and mysql2, direct and through Forebay'
	@echo 'make build                       $(FOREBAY)'
	@echo 'make image                       $(ARCHIVE), from a static program; no registry, no Docker'
	@echo 'make image-test | runbooks       the image as a container (root) | moving in and out, new passwords, backup'
	@echo 'make manifests | pods            Kubernetes manifests looked at, no cluster | what runs in the pods, run here'
	@echo 'make podsim                      the pods of MySQL as processes: killed, moved, scaled, emptied (root)'
	@echo 'make install                     what demo and test need, MySQL 9.7 and 5.6 too'
	@echo 'make lint | deny | fuzz | bench  clippy and shellcheck | packages | 30 s a target | speed'
	@echo 'make leaks                       random scripts on shared connections, compared with private ones'
	@echo 'make freshness                   100000 pairs of a write and a read (1000000 simulated), WordPress every day'
	@echo 'make stranger                    the demo on a bare Debian 12 in a folder (root)'

demo:
	@$(STACK) install build servers wordpress $(filter mysql97,$(DB))
	@$(if $(FOREBAY),$(MAKE) --no-print-directory build)
	@deploy/local/demo --db $(DB) $(if $(FOREBAY),--forebay $(FOREBAY)) $(if $(ONCE),--once)

test: install
	@tests/run $(if $(FOREBAY),--forebay $(FOREBAY))

# An hour or so; a part of it is in `make test`. SUITE: one or several of tests/conformance/suites.sh.
conformance: install build
	@tests/conformance/run --forebay $(FOREBAY) $(SUITE)

build:
	cargo build --release --locked

# Its debug information stays behind: names of functions are enough for a report.
static:
	@$(STACK) install static
	cargo build --release --locked --target $(MUSL) --bin forebay
	@mkdir -p $(dir $(STATIC))
	objcopy --strip-debug $(TARGET)/$(MUSL)/release/forebay $(STATIC)

image: static
	@$(STACK) install image
	@deploy/assemble $(STATIC) $(ARCHIVE)

image-test: image
	@$(STACK) install servers
	@deploy/tests/image $(ARCHIVE)

# The same test around a program that was compiled in a hurry: what `make test` has time for.
image-quick:
	@$(STACK) install servers static image
	cargo build --locked --target $(MUSL) --config profile.dev.debug=false --bin forebay
	@deploy/assemble $(TARGET)/$(MUSL)/debug/forebay $(TARGET)/image/quick.tar
	@deploy/tests/image $(TARGET)/image/quick.tar

runbooks: build
	@$(STACK) install servers wordpress mysql97
	@deploy/tests/runbooks --forebay $(FOREBAY)
	@deploy/tests/backup --forebay $(FOREBAY)

install:
	@$(STACK) install build servers wordpress mysql97 mysql56 clients image hadolint kubernetes podsim tools regression redis

manifests: build
	@$(STACK) install kubernetes
	@deploy/tests/manifests --forebay $(FOREBAY)

# A part of it is in `make test`. ONLY: chapters whose names have this in them.
podsim: build
	@$(STACK) install podsim
	@deploy/tests/podsim/run --forebay $(FOREBAY) $(if $(ONLY),--only "$(ONLY)")

pods: build
	@$(STACK) install servers wordpress mysql97 redis kubernetes
	@deploy/tests/pods --forebay $(FOREBAY)

lint: shellcheck hadolint
	cargo fmt --check
	cargo clippy --all-targets --features servers,sim -- -D warnings

shellcheck:
	shellcheck -x $(SCRIPTS)

hadolint:
	@$(STACK) hadolint $(DOCKERFILES)

deny:
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --offline check bans licenses sources

# Stable Rust may use the sanitizers' flags when it is told that it is at home. A C compiler's flags
# from the environment would reach the instrumented build. What it finds on its way is kept beside the
# corpus, which is chosen by hand.
fuzz:
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@set -e; for target in $$(RUSTC_BOOTSTRAP=1 cargo fuzz list); do \
		echo "fuzz $$target"; mkdir -p fuzz/target/found/$$target; \
		env -u CFLAGS -u CXXFLAGS RUSTC_BOOTSTRAP=1 cargo fuzz run "$$target" \
			fuzz/target/found/$$target fuzz/corpus/$$target -- -max_total_time=30 -rss_limit_mb=2048; \
	done

# The scripts of `make test`, but many more of them.
leaks:
	@$(STACK) install build servers mysql97
	LEAK_SCRIPTS=$(or $(LEAK_SCRIPTS),1000) cargo test --release --locked --features servers --test servers leaks:: -- --nocapture --test-threads=2

# What `make test` does with few pairs and one kind of server. An hour or so on two cores.
freshness: build
	@$(STACK) install build servers wordpress mysql97 mysql56 redis
	FRESHNESS_PAIRS=$(or $(FRESHNESS_PAIRS),12000) WORKLOAD_SECONDS=30 cargo test --release --locked --features 'servers sim' \
		--test servers -- pairs:: traps:: workload:: --nocapture --test-threads=1
	SIM_PAIRS=$(or $(SIM_PAIRS),1000000) cargo test --release --locked --features 'servers sim' --lib sim::tests::every_promise -- --nocapture
	tests/wordpress/everyday --forebay $(FOREBAY) --db mariadb --levels causal,strict,eventual
	tests/wordpress/everyday --forebay $(FOREBAY) --db mysql97 --levels causal,strict,eventual
	benches/load/run --forebay $(FOREBAY) --levels

bench: build
	cargo bench
	benches/load/run --forebay $(FOREBAY)
	benches/memory/run --forebay $(FOREBAY)

stranger:
	@deploy/local/stranger
