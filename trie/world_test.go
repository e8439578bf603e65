// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"
)

var errBroken = errors.New("the test broke this fetch")

// stateWorld is a state made by go-ethereum, and a Source for it.
type stateWorld struct {
	db    state.Database
	disk  interface{ Get([]byte) ([]byte, error) }
	root  common.Hash
	addrs []common.Address

	sink      Sink  // filled with the rest of the path, if set
	failAt    int64 // the fetch that fails, counted from 1
	corruptAt int64 // the fetch that is answered wrongly
	count     atomic.Int64
	faults    sync.Map // path of owner -> Fault
}

var rules = params.Rules{IsEIP158: true, IsByzantium: true}

func slotOf(i int) common.Hash { return common.BigToHash(uint256.NewInt(uint64(i)).ToBig()) }

// newStateWorld makes accounts; every third has code, and storage of a size between one
// slot and hundreds.
func newStateWorld(t testing.TB, accounts int) *stateWorld {
	t.Helper()
	disk := rawdb.NewMemoryDatabase()
	w := &stateWorld{disk: disk}
	w.db = state.NewDatabase(triedb.NewDatabase(disk, triedb.HashDefaults), state.NewCodeDB(disk))
	db, err := state.New(types.EmptyRootHash, w.db)
	if err != nil {
		t.Fatal(err)
	}
	for i := range accounts {
		addr := common.BytesToAddress(crypto.Keccak256([]byte(fmt.Sprint("account", i))))
		w.addrs = append(w.addrs, addr)
		db.SetBalance(addr, uint256.NewInt(uint64(i+1)), tracing.BalanceChangeUnspecified)
		db.SetNonce(addr, uint64(i), tracing.NonceChangeUnspecified)
		if i%3 == 0 {
			db.SetCode(addr, []byte(fmt.Sprint("code", i)), tracing.CodeChangeUnspecified)
			for s := range 1 << (i % 10) {
				db.SetState(addr, slotOf(s), slotOf(s*s+1))
			}
		}
	}
	if w.root, err = db.Commit(rules, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.db.TrieDB().Commit(w.root, false); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *stateWorld) FetchNode(_ context.Context, f Fault) ([]byte, error) {
	w.faults.Store(fmt.Sprintf("%x/%x", f.Owner, f.Path), f)
	blob, err := w.disk.Get(f.Hash[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch w.count.Add(1) {
	case w.failAt:
		return nil, errBroken
	case w.corruptAt:
		return append([]byte{}, blob[1:]...), nil
	}
	if w.sink != nil && f.Key != nil {
		return blob, w.sink.PutNodes(Follow(f.Owner, f.Path, f.Hash, f.Key, w.onPath(f)))
	}
	return blob, nil
}

// onPath returns the nodes from the fault on down to its key.
func (w *stateWorld) onPath(f Fault) map[common.Hash][]byte {
	blobs := make(map[common.Hash][]byte)
	hash, depth := f.Hash, len(f.Path)
	for {
		blob, err := w.disk.Get(hash[:])
		if err != nil {
			return blobs
		}
		blobs[hash] = blob
		step, err := Descend(blob, f.Key[depth:])
		if err != nil || step.Kind != StepChild {
			return blobs
		}
		hash, depth = step.Hash, depth+step.Depth
	}
}

func (w *stateWorld) FetchCode(_ context.Context, hash common.Hash) ([]byte, error) {
	code := rawdb.ReadCode(w.disk.(interface {
		Has([]byte) (bool, error)
		Get([]byte) ([]byte, error)
	}), hash)
	switch w.count.Add(1) {
	case w.failAt:
		return nil, errBroken
	case w.corruptAt:
		return code[1:], nil
	}
	return code, nil
}

func mustReader(t testing.TB, d *StateDatabase) state.Reader {
	t.Helper()
	r, err := d.Reader(d.Root())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
