// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestSlimAccount compares with go-ethereum's encoding.
func TestSlimAccount(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		a := types.StateAccount{Nonce: rng.Uint64() >> rng.IntN(64), Balance: new(uint256.Int), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
		for i := range rng.IntN(5) {
			a.Balance[i] = rng.Uint64()
		}
		if rng.IntN(2) == 0 {
			a.Root = common.Hash{1, 31: byte(rng.Uint32())}
		}
		if rng.IntN(2) == 0 {
			a.CodeHash = common.Hash{31: byte(rng.Uint32())}.Bytes()
		}
		value, err := rlp.EncodeToBytes(&a)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := slimAccount([]byte("x"), value); err != nil || !bytes.Equal(got[1:], types.SlimAccountRLP(a)) {
			t.Fatalf("%x: %x, %v", value, got, err)
		}
		if _, err := slimAccount(nil, value[:len(value)-1]); err == nil {
			t.Errorf("%x without its last byte", value)
		}
	}
}

// complete walks a version to its end.
func (w *stateWorld) complete(t *testing.T, d *DB, v *version) {
	t.Helper()
	for hash, code := range w.codes {
		rawdb.WriteCode(d.chain.disk, hash, code)
	}
	walker := trie.NewWalker(trie.WalkerConfig{Root: v.root, Complete: d.Complete(), Writer: d.Complete().Writer(), Local: local(w.blobs)})
	walker.ByNodes(true)
	for !walker.Done() {
		if need, more, err := walker.Next(true, true); err != nil || need != nil || !more && !walker.Done() {
			t.Fatalf("walk: %v, needs %v", err, need)
		}
	}
}

// TestFlatAdopted: the flat state that was written together with the nodes is that of go-ethereum from the switch on, and nothing is
// derived. That of a database which did not keep it, or was damaged, is derived, and kept from then on.
func TestFlatAdopted(t *testing.T) {
	w := newStateWorld(5)
	v := w.change(40)
	disk := memorydb.New()
	d := openOn(t, disk)
	w.complete(t, d, v)
	enable := func(d *DB, v *version, adopted bool) {
		t.Helper()
		full, err := d.EnableFull(v.root, trie.NewCache(1<<20, nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, done := full.FlatProgress(); adopted && !done {
			t.Fatal("flat state was kept and is not there")
		}
		for began := time.Now(); ; time.Sleep(time.Millisecond) { // a generator that was started
			if _, done := full.FlatProgress(); done {
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("no flat state")
			}
		}
		for owner, list := range v.leaves {
			n := 0
			done := full.Leaves(v.root).Leaves(owner, common.Hash{}, func(key common.Hash, value []byte) bool {
				if n < len(list) && (key != list[n].key || !bytes.Equal(value, flatValue(owner, list[n].value))) {
					t.Errorf("leaf %d of owner %x is %x: %x", n, owner, key, value)
				}
				n++
				return true
			})
			if !done || n != len(list) {
				t.Errorf("%d leaves of owner %x (%v), want %d", n, owner, done, len(list))
			}
		}
		d.closeFull(false)
	}
	kept := func(d *DB, want bool) {
		t.Helper()
		if err := d.chain.loadFlat(); err != nil || d.chain.flat.Load() != want {
			t.Fatalf("flat state is kept: %v (%v), want %v", d.chain.flat.Load(), err, want)
		}
	}
	kept(d, true)
	enable(d, v, true)
	equals(t, disk, v)

	d = openOn(t, disk) // beams again
	v = w.change(20)
	if err := d.DropFull(); err != nil {
		t.Fatal(err)
	}
	w.complete(t, d, v)
	enable(d, v, true)
	equals(t, disk, v)

	if _, err := d.DiscardIncomplete(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept(d, false)
	for _, l := range v.leaves[common.Hash{}] { // nothing of it is believed
		rawdb.WriteAccountSnapshot(disk, l.key, []byte{0xc0})
	}
	v = w.change(20)
	w.complete(t, d, v)
	kept(d, false)
	enable(d, v, false)
	equals(t, disk, v)
	if err := d.DropFull(); err != nil {
		t.Fatal(err)
	}
	kept(d, true)
	v = w.change(20)
	w.complete(t, d, v)
	enable(d, v, true)
	equals(t, disk, v)
}

// TestFlatUnfinished: flat state that go-ethereum was still deriving is not taken for a whole one.
func TestFlatUnfinished(t *testing.T) {
	w := newStateWorld(6)
	v := w.change(30)
	d := openOn(t, memorydb.New())
	w.complete(t, d, v)
	if err := d.chain.dropFlat(); err != nil {
		t.Fatal(err)
	}
	for _, noted := range []struct {
		flatGeneration
		root common.Hash
	}{{flatGeneration{Marker: []byte{1}}, v.root}, {flatGeneration{Done: true}, common.Hash{1}}} {
		blob, err := rlp.EncodeToBytes(&noted.flatGeneration)
		if err != nil {
			t.Fatal(err)
		}
		rawdb.WriteSnapshotRoot(d.chain.disk, noted.root)
		rawdb.WriteSnapshotGenerator(d.chain.disk, blob)
		if err := d.DropFull(); err != nil || d.chain.flat.Load() {
			t.Errorf("%+v counts as whole (%v)", noted, err)
		}
		if rawdb.ReadSnapshotGenerator(d.chain.disk) != nil || rawdb.ReadSnapshotRoot(d.chain.disk) != (common.Hash{}) {
			t.Errorf("%+v is not forgotten", noted)
		}
	}
}
