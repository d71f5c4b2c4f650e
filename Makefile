# Everything about building and testing Certwright starts here; "make help" lists it. "make run" and "make build"
# need Go and make, nothing else.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Static binaries without a trace of the builder's folders. Lint, vet and the tests without the race detector share
# these settings, and so share one build cache with the binary.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(shell go env GOFLAGS) -trimpath)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Two packages at a time: the tests are honest about a machine of two cores.
GOTEST := go test -p 2 -timeout 20m

# All packages but the end-to-end tests and the benchmarks, which build and run the real server. Recipes put it into a
# variable first: a go list that fails must fail the recipe.
UNIT = $$(go list ./... | grep -v -E '^github.com/certwright/certwright/(e2e|bench)(/|$$)')

# The race detector runs over all of UNIT but cmd/certwright: its transcripts start the program hundreds of times,
# which takes ten minutes that way, and the rooms that the program is made of are under it already.

# Among UNIT are the tests of this folder. TestBuilds, one of them, compiles for two other systems: some minutes with a
# cold cache, seconds with a warm one.

FUZZTIME ?= 30s
SOAK ?= 10m
CERTWRIGHT_CRASH_ROUNDS ?= 200

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: build ## build, then start a development CA on loopback; ARGS='...' is passed on
	@exec bin/certwright serve --dev $(ARGS)

.PHONY: demo
demo: build ## the whole journey in a temporary folder, told as a story
	@cd tools/demo && go run . ../../bin/certwright

.PHONY: build
build: ## build the commands into bin/
	@mkdir -p bin
	@go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: man
man: build ## write the man pages into bin/man
	@bin/certwright man bin/man
	@bin/certwright-audit man bin/man

.PHONY: test
test: deps lint vet proto-check build ## everything: what CI runs
	packages=$(UNIT); CGO_ENABLED=1 $(GOTEST) -race $$(grep -v '/cmd/certwright$$' <<<"$$packages")
	$(GOTEST) ./cmd/certwright ./e2e/... ./bench/...
	cd tools/curve && go test ./...

.PHONY: cross
cross: ## compile the commands for each platform of docs/cli.md, without running them (make test: two of them)
	CERTWRIGHT_CROSS=1 go test -count 1 -v -timeout 60m -run '^TestBuilds$$' .

.PHONY: test-unit
test-unit: ## the quick inner loop: unit tests, without the race detector
	@packages=$(UNIT); $(GOTEST) $$packages

.PHONY: lint
lint: ## the linters of .golangci.yml, at the version pinned in tools/lint/go.mod
	go tool -modfile=tools/lint/go.mod golangci-lint run

.PHONY: vet
vet:
	go vet ./...

.PHONY: proto
proto: ## regenerate the Go and OpenAPI files beside the .proto files
	cd tools/protogen && go run .

.PHONY: proto-check
proto-check:
	cd tools/protogen && go run . -check

.PHONY: bench
bench: ## the benchmarks, over real sockets
	go test -run '^$$' -bench . -timeout 60m ./bench/...

# Sizes of the ledger at which bench-growth measures. A million takes about half an hour of two cores, and 2 GB of disk.
SIZES ?= 1000,3000,10000,30000,100000,300000,1000000

.PHONY: bench-growth
bench-growth: ## cost against the number of certificates (SIZES=...): docs/growth.csv, and its picture
	CERTWRIGHT_BENCH_SIZES=$(SIZES) CERTWRIGHT_BENCH_CURVE=$(CURDIR)/docs/growth.csv \
		go test -run '^$$' -bench Curve -timeout 4h ./bench
	cd tools/curve && go run . ../../docs/growth.csv > ../../docs/growth.svg

.PHONY: bench-peers
bench-peers: ## the same flows against step-ca and cfssl, in turn; builds them into bin/peers
	GOBIN=$(CURDIR)/bin/peers go install github.com/smallstep/certificates/cmd/step-ca@v0.30.2
	GOBIN=$(CURDIR)/bin/peers go install github.com/cloudflare/cfssl/cmd/cfssl@v1.6.5
	CERTWRIGHT_BENCH_PEERS=$(CURDIR)/bin/peers go test -run '^$$' -bench Peers -timeout 60m ./bench

.PHONY: soak
soak: ## a server under mixed load for SOAK=10m: memory, goroutines, descriptors must stay flat (make test: 20 s)
	SOAK=$(SOAK) go test -count 1 -v -timeout 24h -run '^TestSoak$$' ./bench

.PHONY: crash
crash: ## kills, disk faults, power cuts and flipped bits, long: CERTWRIGHT_CRASH_ROUNDS=200 (make test: 20)
	CERTWRIGHT_CRASH_ROUNDS=$(CERTWRIGHT_CRASH_ROUNDS) go test -count 1 -v -timeout 180m \
		-run 'Crash|Kill|Fault|PowerCut|Full|Damage|Rot|Verdicts|Recording|LostAndTorn' \
		./storage/bolt/... ./ledger ./ca ./e2e

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME=30s
	@go test -list '^Fuzz' ./... | awk '/^Fuzz/ {name[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print $$2, name[i]; n = 0}' | \
	while read -r package target; do \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$package" </dev/null; \
	done

.PHONY: deps
deps: ## install what the tests need (Debian, Ubuntu), or list what is missing
	@tools/deps
