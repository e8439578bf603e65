// SPDX-License-Identifier: LGPL-3.0-or-later

// Package archtest keeps the import directions of the project: who may know whom.
package archtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sunbeam-eth/sunbeam"

// allowed lists, for each package, the packages of ours that it may import outside of tests.
// A package that is not listed fails the test: whoever adds one decides where it stands.
var allowed = map[string][]string{
	// The leaves import nothing of ours.
	"config":         {},
	"era":            {},
	"trie":           {},
	"chain":          {},
	"p2p":            {},
	"beamsync/sched": {},
	"beamsync/peer":  {},

	"internal/atomicfile": {},
	"internal/blockfile":  {},
	"internal/diskspace":  {},
	"internal/health":     {},
	"internal/jsonhex":    {},

	"db":   {"chain", "internal/atomicfile", "trie"},
	"evm":  {"trie"},
	"rpc":  {"beamsync/importer", "chain", "internal/atomicfile", "internal/blockfile", "internal/health", "internal/jsonhex", "logindex", "payloadbuilder", "trie"},
	"pool": {"chain", "internal/atomicfile"},

	"logindex":       {"chain"},
	"payloadbuilder": {"chain", "evm", "internal/jsonhex", "trie"},

	// Beam Sync: a package a noun, and the folder's own, which is a table of contents.
	"beamsync":          {},
	"beamsync/prefetch": {"evm", "trie"},
	"beamsync/fetch":    {"beamsync/sched", "beamsync/peer", "trie"},
	"beamsync/backfill": {"beamsync/peer", "trie"},
	"beamsync/history":  {"beamsync/peer", "chain"},
	"beamsync/witness":  {"beamsync/peer", "beamsync/prefetch", "evm", "trie"},
	"beamsync/importer": {"beamsync/prefetch", "chain", "evm", "trie"},
	"beamsync/warmup":   {"beamsync/prefetch", "chain", "evm", "trie"},

	// The composition root sees all; the command sees it.
	"internal/node": {
		"beamsync/backfill", "beamsync/fetch", "beamsync/history", "beamsync/importer", "beamsync/peer", "beamsync/prefetch",
		"beamsync/sched", "beamsync/warmup", "beamsync/witness", "chain", "config", "db", "era", "evm", "internal/atomicfile", "internal/blockfile", "internal/diskspace", "internal/health", "internal/metrics", "internal/page", "logindex", "p2p", "payloadbuilder", "pool", "rpc", "trie",
	},
	"internal/metrics": {"internal/health"},
	"internal/page":    {},
	"internal/top":     {"internal/page"},
	"cmd/sunbeam":      {"config", "era", "internal/atomicfile", "internal/health", "internal/node", "internal/page", "internal/top"},

	// What measures and shows the node; nothing above imports it.
	"internal/archtest":    {},
	"internal/realdata":    {},
	"internal/powercut":    {"db"},
	"internal/rpcdiff":     {},
	"internal/simnet":      {},
	"internal/mockcl":      {},
	"internal/stategen":    {},
	"internal/testchain":   {},
	"internal/gethpeer":    {},
	"internal/witnessfile": {"evm", "trie"},
	"internal/demo":        {"internal/gethpeer", "internal/mockcl", "internal/simnet", "internal/stategen"},
	"internal/bench": {
		"beamsync/backfill", "beamsync/fetch", "beamsync/importer", "beamsync/peer", "beamsync/prefetch", "beamsync/sched",
		"beamsync/witness", "chain", "db", "evm", "internal/demo", "internal/gethpeer", "internal/mockcl",
		"internal/simnet", "internal/stategen", "internal/witnessfile", "p2p", "rpc", "trie",
	},
	"internal/e2e":               {}, // tests only
	"beamsync/internal/beamtest": {"beamsync/fetch", "beamsync/peer", "internal/realdata", "internal/witnessfile", "trie"},
	"cmd/beamdemo":               {"internal/demo"},
	"cmd/beambench":              {"internal/bench"},
}

// forbidden lists whole applications of go-ethereum that production code must not use: they
// assume complete state or bring a lifecycle of their own.
var forbidden = []string{
	"github.com/ethereum/go-ethereum/eth",
	"github.com/ethereum/go-ethereum/eth/downloader",
	"github.com/ethereum/go-ethereum/eth/catalyst",
}

// wire lists who may touch devp2p's packet types.
var wire = []string{"p2p", "internal/simnet"}

func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 10 {
		t.Fatalf("go list found %d packages only:\n%s", len(lines), out)
	}
	for _, line := range lines {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module+"/")
		may, listed := allowed[pkg]
		if !listed {
			t.Errorf("package %s has no place in the import table", pkg)
			continue
		}
		for _, path := range fields[1:] {
			if ours, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, which it may not", pkg, ours)
			}
			if slices.Contains(forbidden, path) || strings.HasPrefix(path, "github.com/ethereum/go-ethereum/cmd/") {
				t.Errorf("%s imports %s, an application", pkg, path)
			}
			if strings.HasPrefix(path, "github.com/ethereum/go-ethereum/eth/protocols") && !slices.Contains(wire, pkg) {
				t.Errorf("%s imports %s: wire packets stay in p2p", pkg, path)
			}
		}
	}
}

// TestNoCircles makes sure that the table itself has none, so that it stays a picture of layers.
func TestNoCircles(t *testing.T) {
	var visit func(pkg string, path []string)
	visit = func(pkg string, path []string) {
		if slices.Contains(path, pkg) {
			t.Fatalf("circle: %v -> %s", path, pkg)
		}
		for _, next := range allowed[pkg] {
			visit(next, append(path, pkg))
		}
	}
	for pkg := range allowed {
		visit(pkg, nil)
	}
}
