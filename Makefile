# Targets for people; .ci/run is what decides.

.PHONY: help check test race lint fmt proto fuzz bench deploy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## everything that CI runs
	./.ci/run

test: ## the tests
	go test ./...

race: ## the tests with the race detector, which needs a C compiler
	go list ./... | grep -vE '/(e2e|examples|bench)(/|$$)' | CGO_ENABLED=1 xargs go test -race -short

lint: ## vet, staticcheck, and the schema
	go vet ./...
	go tool -modfile=tools/staticcheck.mod staticcheck ./...
	go tool -modfile=tools/buf.mod buf lint

fmt: ## format the Go code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go' | grep -v '\.pb\.go$$')

proto: ## generate Go from the schema (building buf takes minutes the first time)
	go tool -modfile=tools/buf.mod buf generate

FUZZTIME ?= 20s

fuzz: ## each fuzzer for 20 s (FUZZTIME=5m for longer)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's|/[^/]*:func | |' | while read -r dir name; do \
		echo "== $$dir $$name"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null || exit 1; \
	done

deploy: ## what lies in deploy/, as far as that goes without running it there (see deploy/README.md)
	cd tools/kubernetes && go test ./...
	LAYSHAFT_E2E_HEAVY=1 go test -count=1 ./e2e/deploy

WORKS ?= all

bench: ## measure beside hand-written Go and DuckDB (WORKS="w1 w3" for some; see bench/README.md)
	go run ./bench/cmd/bench $(WORKS)
