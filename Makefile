# Orderflow. `make` alone prints what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Every module builds alone: what works here works for whoever takes one service out.
export GOWORK := off

SERVICES := api consumer loadgen
MODULES  := kit $(addprefix services/,$(SERVICES)) dev
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)

# The race detector needs a C compiler; without one the tests run all the same, and say so.
HAVE_CC := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo yes)
RACE    := $(if $(HAVE_CC),-race,)

export VERSION

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "; print "Orderflow: orders over HTTP, each processed exactly once in effect, on PostgreSQL + PGMQ.\n"} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z0-9_\/-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nSettings go behind the target: make demo CONSUMERS=3 ORDERS=10000\n'

##@ One machine
.PHONY: demo up
demo: bin/dev ## Run api, consumers and loadgen side by side: 100 orders and their audit (CONSUMERS=, ORDERS=, DATABASE_URL=, ...)
	@exec bin/dev demo

up: bin/dev ## Keep the local stack running until Ctrl-C
	@exec bin/dev up

##@ Checks
.PHONY: test lint verify generate fmt
test: bin/dev ## Run all tests that need no cluster, on a real Postgres, with the race detector
	@$(if $(HAVE_CC),,echo 'no C compiler: testing without the race detector (Debian: apt-get install -y gcc libc6-dev)';) \
	bin/dev with-postgres $(MAKE) -j2 --output-sync=line $(addprefix test/,services/consumer dev services/api kit services/loadgen)

# Two modules at a time, the longest first: much of a test is waiting.
#
# Each module's tests, on the Postgres that TEST_DATABASE_URL names, with the migrated database TEST_TEMPLATE (`make test` makes both).
.PHONY: $(addprefix test/,$(MODULES))
$(addprefix test/,$(MODULES)): test/%:
	go -C $* test $(RACE) -timeout 30m ./...

.PHONY: test/browser screenshots
test/browser: bin/dev ## Test the dashboard in Chromium, in front of the real programs (Debian: apt-get install -y chromium; CHROMIUM=/path)
	@bin/dev with-postgres go -C dev/browser test $(RACE) -timeout 10m ./...

screenshots: ## Take the README's pictures of the dashboard, under load: five minutes
	@go -C dev/browser run ./cmd/screenshots

# In a module of its own: it takes a minute to build Prometheus' engine, and nobody else needs it.
.PHONY: test/alerts
test/alerts: bin/dev bin/helm ## Run the chart's alerts and Grafana queries in Prometheus' engine, on what the real programs tell under real faults
	@bin/dev with-postgres go -C dev/alerts test -count=1 -parallel 4 -timeout 10m ./... # what they wait for is not the processor

# Each breaks the program in a small way, and a named test has to notice: tests that cannot fail prove nothing.
.PHONY: mutants
mutants: bin/dev bin/helm bin/helm-unittest $(addprefix bin/,$(SERVICES)) ## Break the program in small ways, each of which a test must notice (MUTANTS=quick, or words; MUTANT_JOBS=)
	@exec bin/dev with-postgres bin/dev mutants

# How long for each target: FUZZTIME=10m before a release.
FUZZTIME ?= 30s
.PHONY: fuzz $(addprefix fuzz/,$(MODULES))
fuzz: bin/dev ## Fuzz whatever reads what others wrote, the api as a whole too, each for FUZZTIME (30s)
	@bin/dev with-postgres $(MAKE) $(addprefix fuzz/,$(MODULES))

$(addprefix fuzz/,$(MODULES)): fuzz/%:
	@cd $* && for file in $$(grep -rl '^func Fuzz' --include=*_test.go .); do for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
		echo "$* $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; done; done

CHECK_MODULES += dev/browser

lint: bin/golangci-lint bin/actionlint ## Lint every module and the workflows
	@set -e; for module in $(MODULES) $(CHECK_MODULES); do echo "lint $$module"; (cd $$module && go vet ./... && $(CURDIR)/bin/golangci-lint run --allow-parallel-runners --config $(CURDIR)/.golangci.yml ./...); done
	bin/actionlint

fmt: bin/golangci-lint ## Format all Go code
	@set -e; for module in $(MODULES) $(CHECK_MODULES); do (cd $$module && $(CURDIR)/bin/golangci-lint fmt --config $(CURDIR)/.golangci.yml ./...); done

generate: $(addprefix bin/,$(SERVICES)) ## Write what is generated: the tables of docs/reference/configuration.md
	@tools/config-tables --write

verify: $(addprefix bin/,$(SERVICES)) ## Check that what is generated is current, modules are tidy and build alone
	@tools/verify $(MODULES) $(CHECK_MODULES)

##@ Dependencies
.PHONY: deps vuln
# The tools' modules are not among those that are checked: they have no code of ours.
TOOL_MODULES := tools tools/actionlint tools/benchstat tools/golangci-lint tools/govulncheck tools/helm-unittest

deps: ## Show which dependencies and tools have newer versions, in every module
	@tools/deps $(MODULES) $(CHECK_MODULES) $(TOOL_MODULES)

vuln: bin/govulncheck ## Look for known vulnerabilities in what is built (its database must be reachable)
	@tools/vuln $(MODULES)

##@ Measurements
.PHONY: bench bench/growth bench/river bench/go bench/profile chaos chaos/failover chaos/patroni soak
bench: bin/dev ## Benchmarks: ratios against what Postgres itself does, in one run (ONLY=, ROUNDS=, DURATION=, WRITE=docs/benchmarks.md)
	@exec bin/dev bench

bench/river: bin/dev ## The same with River beside it, another queue in Postgres
	@go -C tools/river build -o $(CURDIR)/bin/river .
	@RIVER=$(CURDIR)/bin/river exec bin/dev bench

bench/growth: bin/dev ## A database of years beside a new one: throughput, searches, a held snapshot (ORDERS=10000000, MESSAGES=, ROUNDS=, HELD=)
	@exec bin/dev growth

bench/go: bin/dev bin/benchstat ## Go benchmarks of the hot paths against those of another commit (BASE=HEAD~1, COUNT=6, BENCH=)
	@exec bin/dev with-postgres tools/bench-go

bench/profile: bin/dev ## Leave profiles of api, consumer and Postgres under load in dist/profiles
	@PROFILES=$(CURDIR)/dist/profiles exec bin/dev bench

chaos: bin/dev ## Faults against the real binaries under load, each ended by an audit (FAULTS=, HANDLER=, RATE=, SEED=)
	@exec bin/dev chaos

ROUNDS ?= 100
chaos/failover: bin/dev ## Failovers of a primary with two standbys, each under load and ended by an audit (ROUNDS=, SEED=, RATE=)
	@FAULTS="failover failover-standbys failover-all-killed failover-asynchronous" ROUNDS=$(ROUNDS) exec bin/dev chaos

chaos/patroni: bin/dev ## The same with a real manager: rounds of kill and switchover by Patroni with etcd (ROUNDS=, SEED=, RATE=)
	@FAULTS=patroni ROUNDS=$(ROUNDS) exec bin/dev chaos

soak: bin/dev ## Hours under load with random faults and retention, ended by audits and by what has grown (DURATION=1h, RATE=, SEED=, KEEP=, OUT=dist/soak)
	@exec bin/dev soak

##@ Build
.PHONY: build $(addprefix bin/,$(SERVICES)) bin/dev
build: $(addprefix bin/,$(SERVICES)) ## Build the three services into bin/

$(addprefix bin/,$(SERVICES)): bin/%:
	@CGO_ENABLED=0 go -C services/$* build -trimpath -ldflags '$(LDFLAGS)' -o $(CURDIR)/$@ .

bin/dev:
	@command -v go >/dev/null || { echo 'Go is missing: install Go 1.26 or newer from https://go.dev/dl' >&2; exit 1; }
	@go -C dev build -o $(CURDIR)/$@ ./cmd/dev

# Tools, pinned in tools/ and built once per change of their go.mod.
bin/golangci-lint: tools/golangci-lint/go.mod
	@echo 'building golangci-lint (a few minutes the first time)'
	@go -C tools/golangci-lint build -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/actionlint: tools/actionlint/go.mod
	@go -C tools/actionlint build -o $(CURDIR)/$@ github.com/rhysd/actionlint/cmd/actionlint

bin/benchstat: tools/benchstat/go.mod
	@go -C tools/benchstat build -o $(CURDIR)/$@ golang.org/x/perf/cmd/benchstat

bin/govulncheck: tools/govulncheck/go.mod
	@go -C tools/govulncheck build -o $(CURDIR)/$@ golang.org/x/vuln/cmd/govulncheck

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

-include deploy/deploy.mk
