// SPDX-License-Identifier: LGPL-3.0-or-later

package stategen_test

import (
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// TestTrafficDependsOnSeed makes the same transactions from the same seed only.
func TestTrafficDependsOnSeed(t *testing.T) {
	block := func(seed uint64) []string {
		var hashes []string
		for _, tx := range stategen.NewTraffic(small, seed).Block(3_000_000, stategen.Mixed()) {
			hashes = append(hashes, tx.Hash().Hex())
		}
		return hashes
	}
	first, again, other := block(1), block(1), block(2)
	if len(first) < 10 || len(first) != len(again) {
		t.Fatalf("%d and %d transactions", len(first), len(again))
	}
	for i := range first {
		if first[i] != again[i] {
			t.Fatalf("transaction %d differs", i)
		}
	}
	if first[0] == other[0] {
		t.Error("seeds 1 and 2 make the same transactions")
	}
}

func TestSpecCheck(t *testing.T) {
	for name, spec := range map[string]stategen.Spec{
		"negative":            {Accounts: -1},
		"no code":             {Contracts: 1},
		"more codes":          {Contracts: 1, Codes: 2},
		"slots without owner": {Slots: 1},
	} {
		if spec.Check() == nil {
			t.Errorf("%s: %+v is accepted", name, spec)
		}
	}
	for _, spec := range []stategen.Spec{{}, stategen.Demo(), stategen.Large(), small} {
		if err := spec.Check(); err != nil {
			t.Error(err)
		}
	}
}
