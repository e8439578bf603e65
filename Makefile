# Two commands do everything: make demo shows the node at work, make test checks it.

GO      ?= go
BUILD   := build
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

.PHONY: all build demo test race e2e bench lint fmt fuzz clean

all: build

## build: the node as build/sunbeam, the measuring tool as build/beambench
build:
	$(GO) build -o $(BUILD)/ ./cmd/...

## demo: a real geth with a large state, a consensus client, and a fresh node that beams
demo:
	$(GO) run ./cmd/beamdemo

## test: everything, in sizes that take minutes, on loopback only, with the race detector
test:
	$(GO) vet ./...
	$(GO) test -race -short -timeout 20m ./...
	$(GO) vet -C tools/geth-v1.10 ./...
	$(GO) test -C tools/geth-v1.10 -ldflags=-checklinkname=0 ./...

## e2e: the same in full size, and the long runs against real geth processes
e2e:
	$(GO) test -tags e2e -timeout 90m -count 1 -v ./internal/e2e/...
	$(GO) test -timeout 60m ./...

## bench: round trips, requests, nodes and bytes of real blocks
bench:
	$(GO) run ./cmd/beambench blocks --dir ../shared/data/blocks --strategy all --rtt 0,50ms,100ms,200ms
	$(GO) run ./cmd/beambench blocks --dir ../shared/data/blocks --hold-codes --hold-state 57,46 --rtt 200ms
	$(GO) run ./cmd/beambench bals --dir ../shared/data/bals

## fuzz: each decoder of what strangers send, ranges as they are served and as they are verified, the
## scheduler, for a minute each; what was of interest is kept in testdata/fuzz. Making an input smaller
## takes go up to a minute otherwise, and no other is tried then.
FUZZ := -fuzztime 1m -fuzzminimizetime 1s
fuzz:
	$(GO) test ./trie -run '^$$' -fuzz FuzzDescend $(FUZZ)
	$(GO) test ./trie -run '^$$' -fuzz FuzzMatch $(FUZZ)
	$(GO) test ./trie -run '^$$' -fuzz FuzzHeld $(FUZZ)
	$(GO) test ./p2p -run '^$$' -fuzz FuzzIncoming $(FUZZ)
	$(GO) test ./p2p -run '^$$' -fuzz FuzzReplies $(FUZZ)
	$(GO) test ./beamsync/witness -run '^$$' -fuzz FuzzDecodeTouched $(FUZZ)
	$(GO) test ./beamsync/sched -run '^$$' -fuzz FuzzStep $(FUZZ)

## lint: needs golangci-lint v2 (https://golangci-lint.run)
lint:
	golangci-lint run ./...

fmt:
	gofmt -w $(shell git ls-files '*.go')

clean:
	rm -rf $(BUILD)
