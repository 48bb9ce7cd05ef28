# One command to run it, one to test it; CI runs the same, and builds the image.
.DEFAULT_GOAL := help
.PHONY: help run build test unit check generate lint mutants fuzz bench attack soak

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULNDB    := https://vuln.go.dev
VERSION   = $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo dev)
SOURCES   = $(wildcard *.go) $(wildcard cmd graph internal migrations schema $(wildcard web/*.go))

# As every file of graph/ is now, generated or not.
fingerprint = find graph -name '*.go' -type f | LC_ALL=C sort | xargs cat | cksum

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Everything on this machine: Postgres, demo world, server, demo page, playground (Ctrl-C ends it all)
	@exec bin/nchat-realtime dev

build: ## The server, as bin/nchat-realtime; with the demo page in it where Node is
	@go build -tags "$$(web/build.sh)" -buildvcs=false -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/nchat-realtime ./cmd/nchat-realtime

# Those that take longest, which begin first. Vet has looked before.
LONGEST = ./internal/e2e ./internal/presence ./internal/receipt ./internal/feed

test: check ## What CI tests: format, vet, lint, generated code, all tests under the race detector
	@go build -buildvcs=false -o bin/with ./internal/pgtest/with
	@exec bin/with -- go test -race -shuffle=on -count=1 -vet=off -p=3 -parallel=5 -timeout=9m $(LONGEST) ./...

unit: ## The tests that need neither Postgres nor Node, in seconds
	@go test -short ./...

check:
	@.ci/setup
	@bad=$$(gofmt -l $(SOURCES)) && if [ -n "$$bad" ]; then echo "gofmt would change:"; echo "$$bad"; exit 1; fi
	@if [ -f gqlgen.yml ]; then \
	  before=$$($(fingerprint)) && go tool gqlgen generate && after=$$($(fingerprint)) && \
	  if [ "$$before" != "$$after" ]; then echo "graph/ was out of date and has been generated anew: look at it and commit it"; exit 1; fi; \
	fi
	@go vet ./...
	@if why=$$(go run $(GOLANGCI) version 2>&1); then go run $(GOLANGCI) run; \
	elif [ -z "$$GITHUB_ACTIONS" ]; then echo "NOT LINTED: $(GOLANGCI) cannot be fetched or built here; CI does lint"; \
	else echo "$$why"; exit 1; fi
	@if [ -n "$$GITHUB_ACTIONS" ] || curl -sfo /dev/null -m 3 $(VULNDB)/index/db.json; then go run $(VULNCHECK) -db $(VULNDB) ./...; \
	else echo "NOT CHECKED FOR KNOWN VULNERABILITIES: $(VULNDB) is not reached from here; CI does check"; fi

generate: ## Generate the GraphQL engine from schema/
	@go tool gqlgen generate

lint: ## Find bugs with golangci-lint, at the pinned version
	@go run $(GOLANGCI) run

NONINTERFERENCE ?= 2000
FAULTS ?=
BROWSER :=

soak: ## For long: NONINTERFERENCE (2000) hidden schedules over the wire; or FAULTS=1h, servers, links and Postgres broken; or BROWSER=600, so many seconds of two pages on a flaky network
	@go build -buildvcs=false -o bin/with ./internal/pgtest/with
	@if [ -n "$(FAULTS)" ]; then .ci/setup || true; RIG_LONG=1 RIG_FOR=$(FAULTS) exec go test -count=1 -timeout=48h -run 'TestFaults$$' -v ./internal/rig; \
	elif [ -n "$(BROWSER)" ]; then .ci/setup && SOAK_SECONDS=$(BROWSER) exec bin/with -- go test -count=1 -timeout=12h -run 'TestDemoInABrowser$$' -v ./internal/e2e; \
	else NONINTERFERENCE=$(NONINTERFERENCE) exec bin/with -- go test -race -count=1 -timeout=12h -run 'TestNoninterference$$' -v ./internal/e2e; fi

mutants: ## Switch every rule of privacy off, one at a time, and see that a test finds it out
	@go build -buildvcs=false -o bin/with ./internal/pgtest/with
	@MUTANTS=1 exec bin/with -- go test -count=1 -timeout=120m -run TestMutants -v ./internal/mutant

# Every fuzz test there is, as package:name.
FUZZERS = $(shell grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z]+' -H . | sed -E 's|^(.*)/[^/]*:func |\1:|' | LC_ALL=C sort)
FUZZTIME ?= 30s

fuzz: ## Look for inputs that break a rule, FUZZTIME (30s) for each fuzz test; what is found stands in testdata: commit it
	@go build -buildvcs=false -o bin/with ./internal/pgtest/with
	@for f in $(FUZZERS); do echo "$$f"; bin/with -- go test -run='^$$' -fuzz="^$${f##*:}$$" -fuzztime=$(FUZZTIME) "$${f%:*}" || exit 1; done

bench: ## Measure, on a Postgres of its own; BENCH holds arguments
	@go build -buildvcs=false -o bin/with ./internal/pgtest/with
	@go build -buildvcs=false -o bin/bench ./internal/bench
	@cd internal/bench/peers && { npm ci --silent --no-audit --no-fund </dev/null >/dev/null || echo "no peers on Node: npm cannot install them here"; }
	@cd internal/bench/peers/centrifuge && { go build -o ../../../../bin/bench-centrifuge . || echo "no Centrifuge: it cannot be fetched here"; }
	@if command -v taskset >/dev/null && [ "$$(nproc)" -gt 1 ]; then \
	  BENCH_CPU=0 exec bin/with -durable -- taskset -c 1 bin/bench $(BENCH); \
	else exec bin/with -durable -- bin/bench $(BENCH); fi

attack: ## One user does its worst to a whole server, and what others notice; ATTACK holds arguments
	@go build -buildvcs=false -o bin/with ./internal/pgtest/with
	@go build -buildvcs=false -o bin/attack ./internal/attack
	@go build -buildvcs=false -o bin/attacked ./cmd/nchat-realtime
	@if command -v taskset >/dev/null && [ "$$(nproc)" -gt 1 ]; then \
	  exec taskset -c 0 bin/with -durable -- taskset -c 1 bin/attack -server "taskset -c 0 bin/attacked" $(ATTACK); \
	else exec bin/with -durable -- bin/attack -server bin/attacked $(ATTACK); fi
