# Two commands do everything: make demo shows the node at work, make test checks it.

GO      ?= go
BUILD   := build

# Blocks and recorded chains of others, see internal/realdata/README.md.
SUNBEAM_TESTDATA ?= ../shared/data

# Formatters and linters have versions pinned in a module of their own.
LINT     := $(GO) tool -modfile=tools/lint/go.mod
GROUPING := -local github.com/sunbeam-eth/sunbeam
GOFILES   = $(shell find . -name '*.go' -not -path './$(BUILD)/*')

.PHONY: all help build install cross release ops demo test page-test e2e bench check format-check staticcheck lint fmt fuzz clean

all: build

## build: the node as build/sunbeam, the measuring tool as build/beambench, the demo as build/beamdemo
build:
	$(GO) build -o $(BUILD)/ ./cmd/...

## help: what make does
help:
	@sed -n -e 's/^## \([a-z0-9-]*\): /  \1\t/p' -e 's/^## /\t/p' $(MAKEFILE_LIST) | expand -t 15

## install: the node that was built, its documentation and its systemd unit below PREFIX (/usr/local)
PREFIX ?= /usr/local
# Links to what is not installed go to the repository.
SOURCES := deploy|tools|internal|cmd|beamsync|chain|config|db|era|evm|logindex|p2p|payloadbuilder|pool|rpc|trie|Makefile|\.ci|\.github|\.golangci\.yml
install:
	install -D -m 755 $(BUILD)/sunbeam $(DESTDIR)$(PREFIX)/bin/sunbeam
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/sunbeam *.md COPYING LICENSE NOTICE
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/sunbeam/docs docs/*.md docs/*.png
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/sunbeam/docs/adr docs/adr/*.md
	sed -i -E 's,\]\((\.\./)*($(SOURCES))([/)#]),](https://github.com/sunbeam-eth/sunbeam/blob/main/\2\3,g' $$(find $(DESTDIR)$(PREFIX)/share/doc/sunbeam -name '*.md')
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's#/usr/local/#$(PREFIX)/#' deploy/systemd/sunbeam.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/sunbeam.service
	test -e $(DESTDIR)/etc/default/sunbeam || install -D -m 644 deploy/systemd/sunbeam.default $(DESTDIR)/etc/default/sunbeam

## cross: the node for all systems as build/release, without cgo
PLATFORMS := linux-amd64 linux-arm64 darwin-amd64 darwin-arm64 windows-amd64 windows-arm64
RELEASE   := $(BUILD)/release
cross: $(PLATFORMS:%=cross-%)
cross-%:
	GOOS=$(word 1,$(subst -, ,$*)) GOARCH=$(word 2,$(subst -, ,$*)) CGO_ENABLED=0 \
		$(GO) build -trimpath -ldflags='-s -w' -o $(RELEASE)/sunbeam-$*$(if $(findstring windows,$*),.exe) ./cmd/sunbeam

## release: the same with licences, as archives with checksums
release: cross
	@cd $(RELEASE) && rm -f *.tar.gz SHA256SUMS && for binary in sunbeam-*; do \
		mkdir -p sunbeam && cp $$binary sunbeam/sunbeam$$(case $$binary in *.exe) echo .exe;; esac) && \
		cp ../../README.md ../../COPYING ../../LICENSE ../../NOTICE sunbeam/ && \
		tar --sort=name --owner=0 --group=0 --mtime=@0 -czf $${binary%.exe}.tar.gz sunbeam && rm -r sunbeam || exit 1; \
	done && sha256sum *.tar.gz > SHA256SUMS && cat SHA256SUMS

## ops: check what is in deploy: queries, rules and the compose file by their parsers, the rest with the programs that are there
ops:
	$(GO) test -C tools/ops ./...
	@check() { if command -v $$1 >/dev/null; then echo "$$*"; "$$@" >/dev/null; else echo "not checked: $$1 is not installed"; fi; }; \
	check systemd-analyze security --offline=true --threshold=30 deploy/systemd/sunbeam.service && \
	check hadolint deploy/Dockerfile deploy/hive/Dockerfile && \
	check helm lint deploy/helm/sunbeam && check helm template sunbeam deploy/helm/sunbeam --set jwtSecretName=jwt,serviceMonitor=true

## demo: a real geth with a large state, a consensus client, and a fresh node that beams
# On a terminal, Ctrl-C ends it with exit code 0, while it compiles too: in a process group of its own, so that make is not interrupted.
demo:
	@if [ -t 0 ]; then sh -mc "sh -c \"trap 'exit 0' INT; $(GO) run ./cmd/beamdemo\""; else $(GO) run ./cmd/beamdemo; fi

## test: everything, in sizes that take minutes, on loopback only, with the race detector
test:
	@rm -rf $(BUILD)/not-run
	$(GO) vet ./...
	$(GO) test -race -short -vet=off -timeout 20m ./...
	$(GO) test -vet=off -run TestDiscovery ./p2p
	$(GO) vet -C tools/geth-v1.10 ./...
	$(GO) test -C tools/geth-v1.10 -vet=off -ldflags=-checklinkname=0 ./...
	@if [ -d $(BUILD)/not-run ]; then \
		echo "Not run for lack of third-party data, which internal/realdata/README.md tells how to get:"; \
		sed 's/^/  /' $(BUILD)/not-run/*; \
	fi

## page-test: the status page in a real browser, headless Chromium; PAGE_SHOTS=DIR keeps pictures
page-test:
	$(GO) test -tags browser -count 1 -run TestBrowser ./internal/page

## e2e: the same in full size, and the long runs against real geth processes
e2e:
	$(GO) test -tags e2e -timeout 90m -count 1 -v ./internal/e2e/...
	$(GO) test -timeout 60m ./...

## bench: round trips, requests, nodes and bytes of real blocks
bench:
	$(GO) run ./cmd/beambench blocks --dir $(SUNBEAM_TESTDATA)/blocks --strategy all --rtt 0,50ms,100ms,200ms
	$(GO) run ./cmd/beambench blocks --dir $(SUNBEAM_TESTDATA)/blocks --stored-code --stored-state 57,46 --rtt 200ms
	$(GO) run ./cmd/beambench bals --dir $(SUNBEAM_TESTDATA)/bals

## fuzz: each decoder of what strangers send, files that an operator writes, ranges as they are served and as
## they are verified, the scheduler, for a minute each; what was of interest is kept in testdata/fuzz. Making an input smaller
## takes go up to a minute otherwise, and no other is tried then.
FUZZ := -fuzztime 1m -fuzzminimizetime 1s
fuzz:
	$(GO) test ./trie -run '^$$' -fuzz FuzzDescend $(FUZZ)
	$(GO) test ./trie -run '^$$' -fuzz FuzzMatch $(FUZZ)
	$(GO) test ./trie -run '^$$' -fuzz FuzzServed $(FUZZ)
	for target in FuzzIncoming FuzzReplies FuzzCells FuzzHave FuzzGetSubtrees FuzzSubtrees FuzzWitnessKeys FuzzGetWitness FuzzGetNodeData FuzzNodeData FuzzStatus FuzzBlockRange; do \
		$(GO) test ./p2p -run '^$$' -fuzz "^$$target\$$" $(FUZZ) || exit 1; \
	done
	for target in FuzzTOML FuzzGenesis FuzzSecret; do \
		$(GO) test ./config -run '^$$' -fuzz "^$$target\$$" $(FUZZ) || exit 1; \
	done
	$(GO) test ./beamsync/witness -run '^$$' -fuzz FuzzDecodeTouched $(FUZZ)
	for target in FuzzNewPayload FuzzEngineRequest FuzzCallObject FuzzStateOverride FuzzBlockOverride FuzzFilterCriteria FuzzSameAsGeth FuzzSimulateRequest FuzzTraceParams; do \
		$(GO) test ./rpc -run '^$$' -fuzz "^$$target\$$" $(FUZZ) || exit 1; \
	done
	$(GO) test ./beamsync/sched -run '^$$' -fuzz FuzzStep $(FUZZ)

## check: what CI runs before the tests
check: format-check staticcheck

format-check:
	@unformatted=$$($(LINT) gofumpt -l $(GOFILES) && $(LINT) goimports $(GROUPING) -l $(GOFILES)) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted (run make fmt):" $$unformatted >&2; exit 1; fi

staticcheck:
	$(LINT) staticcheck -tags e2e ./...

## lint: check, and golangci-lint v2 if it is installed (https://golangci-lint.run)
lint: check
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; else echo "golangci-lint is not installed: its checks did not run"; fi

## fmt: gofumpt, with our imports in a group of their own
fmt:
	@$(LINT) gofumpt -w $(GOFILES)
	@$(LINT) goimports $(GROUPING) -w $(GOFILES)

## clean: remove what was built
clean:
	rm -rf $(BUILD)
