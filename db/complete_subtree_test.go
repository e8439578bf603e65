// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// complete returns a store in which a version is complete.
func (v *version) complete(t *testing.T) *Complete {
	t.Helper()
	disk := memorydb.New()
	for key, blob := range v.entries {
		if err := disk.Put([]byte(key), blob); err != nil {
			t.Fatal(err)
		}
	}
	return openOn(t, keptOpen{disk}).Complete()
}

// TestSubtree reads each node's subtree whole and cut, and compares it with the leaves that were put in.
func TestSubtree(t *testing.T) {
	w := newStateWorld(3)
	v := w.change(200)
	complete := v.complete(t)
	cuts := 0
	for owner, list := range v.leaves {
		for key := range v.entries {
			path, ok := bytes.CutPrefix([]byte(key), nodePrefix(owner))
			if !ok || owner == (common.Hash{}) && key[0] != 'A' {
				continue
			}
			blob, err := complete.Node(owner, path)
			if err != nil || blob == nil {
				t.Fatal(err)
			}
			first, last := trie.KeyRange(path)
			want := slices.DeleteFunc(slices.Clone(list), func(l leaf) bool { return l.key.Cmp(first) < 0 || l.key.Cmp(last) > 0 })
			need := &trie.Need{Kind: trie.NeedSubtrees, Refs: []trie.NodeRef{{Owner: owner, Path: path, Hash: crypto.Keccak256Hash(blob)}}}
			for _, size := range []int{0, 100, 1 << 20} {
				keys, values, proof, err := complete.Subtree(owner, path, crypto.Keccak256Hash(blob), size)
				if err != nil || len(keys) == 0 {
					t.Fatalf("%d keys, %v", len(keys), err)
				}
				if (len(keys) < len(want)) != (proof != nil) {
					t.Fatalf("%d of %d keys, %d nodes of proof", len(keys), len(want), len(proof))
				}
				for i := range keys {
					if keys[i] != want[i].key || !bytes.Equal(values[i], want[i].value) {
						t.Fatalf("leaf %d", i)
					}
				}
				if proof != nil {
					cuts++
				}
				d, err := need.Match([][]common.Hash{keys}, [][][]byte{values}, proof)
				if err != nil || d.Pieces[0] == nil {
					t.Fatalf("not proved: %v", err)
				}
				checkTampered(t, need, keys, values, proof)
			}
			if keys, _, _, err := complete.Subtree(owner, path, common.Hash{1}, 1000); err != nil || len(keys) > 0 {
				t.Fatalf("%d keys of another node, %v", len(keys), err)
			}
		}
	}
	if keys, _, _, err := complete.Subtree(common.Hash{9}, nil, common.Hash{1}, 1000); err != nil || len(keys) > 0 || cuts == 0 {
		t.Fatalf("%d keys of an unknown owner, %v; %d were cut", len(keys), err, cuts)
	}
}

// checkTampered checks that no change of a whole subtree is believed.
func checkTampered(t *testing.T, need *trie.Need, keys []common.Hash, values, proof [][]byte) {
	t.Helper()
	if proof != nil {
		return
	}
	var invalid *trie.InvalidRangeError
	for name, change := range map[string]func(){
		"value":   func() { values[0] = append(bytes.Clone(values[0]), 1) },
		"missing": func() { keys, values = keys[1:], values[1:] },
		"key":     func() { keys[len(keys)-1][31] ^= 1 },
	} {
		oldKeys, oldValues := keys, values
		keys, values = slices.Clone(keys), slices.Clone(values)
		change()
		d, err := need.Match([][]common.Hash{keys}, [][][]byte{values}, nil)
		if err == nil && d.Refused == 1 && len(keys) == 0 { // an empty list is a refusal
		} else if !errors.As(err, &invalid) {
			t.Fatalf("%s: %v", name, err)
		}
		keys, values = oldKeys, oldValues
	}
	if _, err := need.Match([][]common.Hash{keys, keys}, [][][]byte{values, values}, nil); !errors.As(err, &invalid) {
		t.Fatalf("more subtrees than asked for: %v", err)
	}
}

// TestWalkShared walks with a swarm peer that has the state, or a slightly different one, and brings what
// is left to it; who brings what changes at random.
func TestWalkShared(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { walkShared(t, seed) })
	}
}

func walkShared(t *testing.T, seed uint64) {
	w := newStateWorld(seed)
	v := w.change(300)
	other := v.complete(t)
	if seed%2 == 1 {
		v = w.change(5)
	}
	disk := memorydb.New()
	r := w.begin(t, v, disk, local{}, 500)
	shared, refused := 0, 0
	for steps := 0; !r.walker.Done(); steps++ {
		if steps > 50_000 {
			t.Fatalf("no end: %+v", r.walker.Progress())
		}
		if steps%50 == 0 {
			salt := byte(w.rng.IntN(256))
			r.walker.Divide(func(p trie.Part) bool { return p.Slice^p.Owner[1]^salt > 200 })
			r.walker.HintLargeTrie(w.key())
		}
		if delegated := r.walker.Delegated(); len(delegated) > 0 && w.rng.IntN(3) == 0 {
			need := r.walker.Shared(delegated[w.rng.IntN(len(delegated)):], 1+w.rng.IntN(300))
			if need.Kind == trie.NeedCodes {
				for _, hash := range need.Codes {
					rawdb.WriteCode(disk, hash, w.codes[hash])
				}
				if err := r.walker.Found(need); err != nil {
					t.Fatal(err)
				}
				continue
			}
			var a answer
			for _, want := range need.Refs {
				keys, values, proof, err := other.Subtree(want.Owner, want.Path, want.Hash, w.rng.IntN(1000))
				if err != nil {
					t.Fatal(err)
				}
				a.keys, a.values, a.proof = append(a.keys, keys), append(a.values, values), proof
				if proof != nil {
					break
				}
			}
			d, err := need.Match(a.keys, a.values, a.proof)
			if err != nil {
				t.Fatal(err)
			}
			shared, refused = shared+d.Leaves, refused+d.Refused
			if err := r.walker.Deliver(need, d); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := r.step(); err != nil {
			t.Fatal(err)
		}
	}
	equals(t, disk, v)
	checkComplete(t, disk)
	if shared == 0 || (refused > 0) != (seed%2 == 1) {
		t.Errorf("%d leaves shared, %d subtrees refused", shared, refused)
	}
	whole := r.walker.CompleteSlices()
	accounts := whole[common.Hash{}]
	for _, l := range v.leaves[common.Hash{}] {
		if !accounts.Has(l.key[0]) {
			t.Errorf("account %x is not in a complete slice", l.key)
		}
	}
	if len(whole) > 1 {
		t.Errorf("%d large tries are announced although all is complete", len(whole)-1)
	}
	if p := r.walker.Progress(); p.Share < 0.999999 || p.Buffered != 0 || p.Queued != 0 {
		t.Errorf("done at %+v", p)
	}
}
