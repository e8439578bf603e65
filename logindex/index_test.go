// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/filtermaps"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
)

// TestFollow: the index follows the head, over reorgs and a restart, and knows how far it is.
func TestFollow(t *testing.T) {
	r := newRig(t)
	x, stop := r.run(Config{})
	if p := x.Progress(); p.First <= p.Last {
		t.Errorf("index of a new chain: %+v", p)
	}
	r.upTo(1, 5)
	r.await(x, 0, 5)
	r.upTo(6, 30)
	r.await(x, 0, 30)
	r.advance(recorded().branch, recorded().branchReceipts)
	r.await(x, 0, 45)
	r.upTo(31, 40)
	r.await(x, 0, 40)
	if p := x.Progress(); p.Remaining != 0 || p.Share != 1 {
		t.Errorf("index of all blocks: %+v", p)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if found := r.search(x, 0, 40, Criteria{Addresses: []common.Address{echoAddr}}); found.Covers {
		t.Error("a stopped index answers")
	}
	r.advance(recorded().branch, recorded().branchReceipts) // while nothing runs
	x, _ = r.run(Config{})
	r.await(x, 0, 45)
	if strings.Contains(r.log.String(), "WARN") {
		t.Errorf("log:\n%s", r.log)
	}
}

// TestSearchOldChain: a search is on the chain of the head that it names, also after a reorg.
func TestSearchOldChain(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 40)
	old := r.chain.CurrentHeader()
	x, _ := r.run(Config{})
	r.await(x, 0, 40)
	r.advance(recorded().branch, recorded().branchReceipts)
	r.await(x, 0, 45)
	found, err := x.Search(t.Context(), old, Query{Last: 40, Criteria: Criteria{Addresses: []common.Address{echoAddr}}})
	if err != nil || !found.Covers || found.Last != 20 {
		t.Errorf("search on the chain before a reorg above block 20 covers blocks up to %d (%v): %v", found.Last, found.Covers, err)
	}
}

// TestBudget: a search with more logs than it may find says so.
func TestBudget(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 40)
	x, _ := r.run(Config{})
	r.await(x, 0, 40)
	query := Query{Last: 40, Criteria: Criteria{Addresses: []common.Address{echoAddr}}}
	all, err := x.Search(t.Context(), r.chain.CurrentHeader(), query)
	if err != nil || len(all.Logs) < 10 {
		t.Fatal(len(all.Logs), err)
	}
	for _, test := range []struct {
		budget int
		want   error
	}{{len(all.Logs), nil}, {len(all.Logs) - 1, ErrTooMany}, {1, ErrTooMany}} {
		query.Budget = test.budget
		if _, err := x.Search(t.Context(), r.chain.CurrentHeader(), query); !errors.Is(err, test.want) {
			t.Errorf("budget of %d for %d logs: %v", test.budget, len(all.Logs), err)
		}
	}
}

// TestPartOfHistory: on a chain that begins in the middle the index begins there too. It begins anew at the lower end when the
// chain has grown down, not before; and above a gap that a pivot leaves.
func TestPartOfHistory(t *testing.T) {
	r, w := newRig(t), recorded()
	settled := new(atomic.Bool)
	r.upTo(15, 20)
	x, _ := r.run(Config{Settled: settled.Load})
	r.await(x, 16, 20) // the lowest block is no more than a base
	headers := make([]*types.Header, 0, 14)
	var blocks []*types.Block
	var receipts []types.Receipts
	for i := 13; i >= 4; i-- {
		headers, blocks, receipts = append(headers, w.blocks[i].Header()), append(blocks, w.blocks[i]), append(receipts, w.receipts[i])
	}
	if err := r.chain.AddHeaders(headers); err != nil {
		t.Fatal(err)
	}
	if err := r.chain.AddHistory(blocks, receipts); err != nil {
		t.Fatal(err)
	}
	r.upTo(21, 22)
	r.await(x, 16, 22)
	if p := x.Progress(); p.Remaining != 0 {
		t.Errorf("blocks remain that cannot be added: %+v", p)
	}
	settled.Store(true)
	if p := x.Progress(); p.Remaining != 10 {
		t.Errorf("10 blocks can be added: %+v", p)
	}
	r.upTo(23, 23)
	r.await(x, 6, 23)
	r.upTo(30, 33) // a pivot
	r.await(x, 31, 33)
}

// TestKill: whatever of the writes reaches the disk before a kill, the index is right afterwards.
func TestKill(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 20)
	counted := newCutStore(r.store, 1<<40)
	x, stop := r.run(Config{Store: counted})
	r.await(x, 0, 20)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	writes := 1<<40 - int(counted.left.Load())
	step := 1
	if testing.Short() {
		step = writes/3 + 1
	}
	for n := 0; n < writes; n += step {
		r := newRig(t)
		r.upTo(1, 20)
		cut := newCutStore(r.store, n)
		x, stop := r.run(Config{Store: cut})
		r.upTo(21, 21)
		for cut.left.Load() >= 0 && x.Progress().Last < 21 {
			time.Sleep(time.Millisecond)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		x, _ = r.run(Config{})
		r.await(x, 0, 21)
		if strings.Contains(r.log.String(), "WARN") {
			t.Errorf("after write %d of %d:\n%s", n, writes, r.log)
		}
	}
}

// TestStopWhileWriting: an index that is told to stop while it writes lets nothing through to the store any more.
func TestStopWhileWriting(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 20)
	watched := newCutStore(r.store, 1<<40)
	watched.wrote = make(chan struct{}, 1)
	_, stop := r.run(Config{Store: watched})
	<-watched.wrote
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	left := watched.left.Load()
	if err := r.chain.SetMarkers(r.chain.CurrentHeader().Hash(), common.Hash{}); err != nil {
		t.Fatal(err)
	}
	if watched.left.Load() != left {
		t.Error("a stopped index writes")
	}
}

// TestDamage: an index that lost something is built anew, with one warning. Searches are right all the while.
func TestDamage(t *testing.T) {
	for _, test := range []struct {
		name     string
		lost     func(key []byte) bool
		distrust bool
	}{
		{"rows", func(key []byte) bool { return bytes.HasPrefix(key, []byte("fm-r")) }, false},
		{"rows, and that is known", func(key []byte) bool { return bytes.HasPrefix(key, []byte("fm-r")) }, true},
		{"block pointers", func(key []byte) bool { return bytes.HasPrefix(key, []byte("fm-p")) }, false},
		{"last blocks of maps", func(key []byte) bool { return bytes.HasPrefix(key, []byte("fm-b")) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.upTo(1, 30)
			x, stop := r.run(Config{})
			r.await(x, 0, 30)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			it := r.store.NewIterator([]byte("fm-"), nil)
			lost := r.store.NewBatch()
			for it.Next() {
				if test.lost(it.Key()) {
					_ = lost.Delete(it.Key())
				}
			}
			it.Release()
			if lost.ValueSize() == 0 {
				t.Fatal("nothing was lost")
			}
			if err := lost.Write(); err != nil {
				t.Fatal(err)
			}
			x, _ = r.run(Config{Distrust: test.distrust})
			r.upTo(31, 32)
			r.await(x, 0, 32)
			if warned := strings.Count(r.log.String(), "level=WARN"); warned > 1 || test.distrust && warned > 0 {
				t.Errorf("%d warnings:\n%s", warned, r.log)
			}
		})
	}
}

// TestLateDamage: damage that a search found in an index that was given up since does not end the next one.
func TestLateDamage(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 10)
	x, _ := r.run(Config{})
	r.await(x, 0, 10)
	x.reportDamage(damageError{errors.New("lost"), new(filtermaps.FilterMaps)})
	r.upTo(11, 20)
	r.await(x, 0, 20)
	if r.log.String() != "" || len(x.damaged) > 0 {
		t.Errorf("log:\n%s", r.log)
	}
}

// TestFailingStore: a store that fails ends the index with its error, and not the process.
func TestFailingStore(t *testing.T) {
	for _, writes := range []int{0, 1, 2, 3, 10, 30} {
		r := newRig(t)
		r.upTo(1, 20)
		cut := newCutStore(r.store, writes)
		cut.fail = errors.New("disk full")
		x := New(Config{Chain: r.chain, Store: cut})
		if err := x.Run(t.Context()); !errors.Is(err, cut.fail) {
			t.Errorf("write %d fails: %v", writes, err)
		}
	}
}

// TestDisabled: a disabled index is deleted.
func TestDisabled(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 20)
	x, stop := r.run(Config{})
	r.await(x, 0, 20)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	x = New(Config{Chain: r.chain, Store: r.store, Disabled: true})
	if err := x.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if p := x.Progress(); !p.Disabled || p.Remaining != 0 {
		t.Errorf("%+v", p)
	}
	if _, exists, err := rawdb.ReadFilterMapsRange(r.store); exists || err != nil {
		t.Error(exists, err)
	}
	it := r.store.NewIterator([]byte("fm-"), nil)
	defer it.Release()
	if it.Next() {
		t.Errorf("key %q is left", it.Key())
	}
}

// TestSize compares the estimate with what is stored. Few topics share rows, so it is above.
func TestSize(t *testing.T) {
	r := newRig(t)
	r.upTo(1, 40)
	x, stop := r.run(Config{})
	r.await(x, 0, 40)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stored, it := 0, r.store.NewIterator([]byte("fm-"), nil)
	defer it.Release()
	for it.Next() {
		stored += len(it.Key()) + len(it.Value())
	}
	if estimate := int(x.Progress().Bytes); estimate < stored || estimate > 3*stored {
		t.Errorf("the index is estimated at %d bytes, %d are stored", estimate, stored)
	}
}
