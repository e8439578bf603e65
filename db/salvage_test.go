// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// entriesOf copies a database.
func entriesOf(kv *memorydb.Database) map[string][]byte {
	all := make(map[string][]byte)
	it := kv.NewIterator(nil, nil)
	defer it.Release()
	for it.Next() {
		all[string(it.Key())] = bytes.Clone(it.Value())
	}
	return all
}

// TestSalvage takes databases of which any value may be gone or be an older one, as LevelDB's repair leaves them. What is
// salvaged is consistent, its head was executed and is whole, and the chain goes on from there.
func TestSalvage(t *testing.T) {
	seeds := 600
	if testing.Short() {
		seeds = 150
	}
	made := newTestBlocks()
	main := made.branch(made.Root(), 12, 1)
	side := made.branch(main[7], 6, 2)
	kv := memorydb.New()
	c := mustChain(t, openOn(t, keptOpen{kv}))
	for _, block := range slices.Concat(main, side) {
		if err := c.Commit(block, made.receiptsOf(block)); err != nil {
			t.Fatal(err)
		}
	}
	setHead := func(c *chain.Chain, head common.Hash) {
		t.Helper()
		if _, err := c.SetHead(head); err != nil {
			t.Fatal(err)
		}
	}
	setHead(c, side[5].Hash())
	if err := c.SetMarkers(side[4].Hash(), side[3].Hash()); err != nil {
		t.Fatal(err)
	}
	old := entriesOf(kv)
	setHead(c, main[11].Hash())
	if err := c.SetMarkers(main[10].Hash(), main[9].Hash()); err != nil {
		t.Fatal(err)
	}
	now := entriesOf(kv)
	var keys []string
	for key := range now {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	known := map[common.Hash]bool{made.Root().Hash(): true}
	for _, block := range slices.Concat(main, side) {
		known[block.Hash()] = true
	}
	kept := 0
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		kv := memorydb.New()
		lost := rng.IntN(20) // of 20
		for _, key := range keys {
			value := now[key]
			if rng.IntN(20) < lost/2 {
				if value = old[key]; rng.IntN(2) == 0 {
					value = nil
				}
			}
			if value != nil {
				if err := kv.Put([]byte(key), value); err != nil {
					t.Fatal(err)
				}
			}
		}
		health := newFailure()
		d := &DB{chain: &Chain{disk: &disk{KeyValueStore: kv, path: "chaindata", health: health}}, health: health}
		d.chain.db = rawdb.NewDatabase(d.chain.disk)
		if stored := d.chain.CanonicalHash(0); stored == (common.Hash{}) { // never taken for another network
			if _, err := chain.New(d.chain, testGenesis); err != nil && !errors.Is(err, chain.ErrDamaged) {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		var c *chain.Chain
		var err error
		for range 2 { // the second one as after a kill
			if c, err = chain.Salvage(d.chain, testGenesis, main[11].Hash()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := c.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		head := c.CurrentHeader()
		if !known[head.Hash()] {
			t.Fatalf("seed %d: head %x", seed, head.Hash())
		}
		if head.Hash() == main[11].Hash() {
			kept++
		}
		if final := c.Finalized(); final != nil && final.Number.Cmp(head.Number) > 0 {
			t.Errorf("seed %d: finalized %d above head %d", seed, final.Number, head.Number)
		}
		if c, err = chain.New(d.chain, testGenesis); err != nil || c.CurrentHeader().Hash() != head.Hash() {
			t.Fatalf("seed %d: opened again: %v", seed, err)
		}
		for _, block := range slices.Concat(side, main) { // what is missing comes again
			if err := c.Commit(block, made.receiptsOf(block)); err != nil {
				t.Fatal(err)
			}
		}
		setHead(c, side[5].Hash())
		setHead(c, main[11].Hash())
		if err := c.AddHistory(nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil {
			t.Fatalf("seed %d: later: %v", seed, err)
		}
	}
	if kept == 0 || kept == seeds {
		t.Errorf("the head was kept %d times of %d", kept, seeds)
	}
}
