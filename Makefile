# Targets for people; .ci/run is what decides.

.PHONY: python-stubs help check short test one race lint dead fmt proto cover slow fuzz vuln deploy openapi bench regress replicas chaos group sim catalog python docs release

# Packages whose tests the race detector can see into: the others drive processes.
RACE = $$(go list ./... | grep -vE '/(e2e|examples|bench|tools)(/|$$)')

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-6s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## everything that CI runs
	./.ci/run

# Four packages at a time, as some tests wait for elections and timeouts.
short: ## the fast loop: tests that need no other process, with fewer seeds and elections
	go test -short -ldflags=-w -p 4 ./...

test: ## all tests
	go test ./...

one: ## one test, wherever it is: make one T=TestKill
	@test -n "$(T)" || { echo "name the test: make one T=TestName"; exit 2; }
	@dirs=$$(git grep -lE "^func $(T)\(" -- '*_test.go' | xargs -r -n1 dirname | sort -u | sed 's|^|./|'); \
	test -n "$$dirs" || { echo "no package has a test $(T)"; exit 1; }; \
	go test -count=1 -v -run '^$(T)$$' $$dirs

race: ## the short tests with the race detector, which needs a C compiler
	CGO_ENABLED=1 go test -race -short $(RACE)

lint: ## vet, staticcheck, unreachable functions, and the schema
	go vet ./...
	go tool -modfile=tools/staticcheck.mod staticcheck ./...
	tools/dead
	tools/buf lint

dead: ## functions that no program and no test of a public package reaches
	tools/dead

fmt: ## format the Go code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go' | grep -v '\.pb\.go$$')

proto: ## generate Go from the schema
	tools/buf generate

python: ## the wheel of the Python package, in dist/ (needs Python 3.10 with pip)
	python3 -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist ./python
	@rm -rf python/build
	@ls dist/layshaft-*.whl

python-stubs: ## generate Python from the schema (needs Python with grpcio-tools 1.75)
	python3 -m grpc_tools.protoc -Iproto --python_out=python/src --pyi_out=python/src layshaft/v1/tasks.proto

docs: ## the documents as a static site with a search, in dist/site
	go run ./tools/site dist/site
	@echo dist/site/index.html

release: ## archives for linux and darwin, with checksums and a bill of materials, in dist/
	tools/release

cover: ## coverage of the short tests, by function, and as cover.html
	go test -short -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -1
	go tool cover -html=cover.out -o cover.html

slow: ## the five slowest packages and tests
	@go test -count=1 -json ./... | go run ./tools/slow

FAULTS ?= 500
COORDINATORS ?= 1

chaos: ## 500 faults from outside on a cluster under load (FAULTS=100 for fewer, COORDINATORS=3)
	cd e2e/chaos && go test -count=1 -timeout 2h -v -faults $(FAULTS) -coordinators $(COORDINATORS) .

group: ## three coordinators at length: kills, one-way cuts, full disks, and upgrades (FORMER=COMMIT)
	LAYSHAFT_E2E_HEAVY=1 go test -count=1 -timeout 1h -v -run '^Test(KillLeader|HandOver|KillAll|LeaderStandsStill|DestroyDisks|OneWayCuts|GroupDiskFull|Recover|Shrink|Upgrade)$$' ./e2e/tasks

SEEDS ?= 2000

sim: ## 2,000 simulated groups of coordinators under faults (SEEDS=100000 for more)
	go test -count=1 -timeout 24h -v -run '^TestSimulation$$' ./coordinator/replica/simulation -seeds $(SEEDS)

PRODUCTS ?= 1000000

catalog: ## the catalogue's night and day with a million products and kills (PRODUCTS=100000 for fewer)
	go test -count=1 -timeout 3h -v -run '^TestCatalog$$' ./e2e/cluster -products $(PRODUCTS)

FUZZTIME ?= 20s

fuzz: ## each fuzzer for 20 s (FUZZTIME=5m for longer)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's|/[^/]*:func | |' | while read -r dir name; do \
		echo "== $$dir $$name"; go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null || exit 1; \
	done

vuln: ## known vulnerabilities in what is linked
	tools/vuln

deploy: ## what lies in deploy/, as far as that goes without running it there (see deploy/README.md)
	cd tools/kubernetes && go test ./...
	cd tools/prometheus && go test ./...
	LAYSHAFT_E2E_HEAVY=1 go test -count=1 ./e2e/deploy ./e2e/allocations

openapi: ## requests and answers of the HTTP API against its description
	cd tools/openapi && go test ./...

WORKS ?= all

bench: ## measure beside hand-written Go and DuckDB (WORKS="w1 w3" for some; see bench/README.md)
	go run ./bench/cmd/bench $(WORKS)

REPLICAS ?= enqueue pause join followers

regress: ## fail if a workload takes 5 % longer than at BASE (WORKS="w1 w3" for some)
	go run ./bench/cmd/bench -rounds 9 -base $(BASE) $(or $(WORKS),w1 w2 w3 w5 works)

replicas: ## measure three coordinators beside one (REPLICAS="pause" for less; see bench/README.md)
	go run ./bench/cmd/replicas $(REPLICAS)
