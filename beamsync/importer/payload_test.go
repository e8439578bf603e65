// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"fmt"
	"math/big"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
)

// TestBeamingBegins: the first block of a fresh node needs its parent's header and no ancestor.
func TestBeamingBegins(t *testing.T) {
	inImporterBubble(t, 60, 30, func(f *fixture) {
		f.want("first block", f.payload(f.at(50), time.Minute), Valid)
		f.follow(50, 60)
		if got := f.importer.metrics; testutil.ToFloat64(got.pivots.WithLabelValues(pivotLag)) != 0 {
			t.Error("beginning to beam was counted as a pivot")
		}
		if f.chain.Status(f.at(48).Hash()) != chain.Unknown {
			t.Error("block 48 was executed or fetched without need")
		}
	})
}

// TestInvalidBeginning: while the first block is being imported, its child waits for it and is
// invalid with it, although a fresh node would execute any block on any parent.
func TestInvalidBeginning(t *testing.T) {
	inImporterBubble(t, 52, 30, func(f *fixture) {
		header := types.CopyHeader(f.at(50).Header())
		header.GasUsed++
		bad := types.NewBlockWithHeader(header).WithBody(*f.at(50).Body())
		header = types.CopyHeader(f.at(51).Header())
		header.ParentHash = bad.Hash()
		child := types.NewBlockWithHeader(header).WithBody(*f.at(51).Body())
		statuses := make(chan Outcome, 2)
		for _, block := range []*types.Block{bad, child} {
			go func() { statuses <- f.payload(block, time.Minute) }()
			synctest.Wait()
		}
		for range 2 {
			status := <-statuses
			f.want("bad beginning", status, Invalid)
			if status.LatestValid != nil {
				t.Errorf("latestValidHash %x, but nothing valid is known", *status.LatestValid)
			}
		}
		f.want("good beginning", f.payload(f.at(52), time.Minute), Valid)
	})
}

// TestInvalidAfterGap: the node pivoted to a bad block. The headers below it are stored down to a block that was
// executed, as BLOCKHASH and markers bring them, but what lies between is not known to be bad.
func TestInvalidAfterGap(t *testing.T) {
	inImporterBubble(t, 50, 30, func(f *fixture) {
		f.follow(1, 2)
		var headers []*types.Header
		for number := 3; number < 50; number++ {
			headers = append(headers, f.at(number).Header())
		}
		if err := f.chain.AddHeaders(headers); err != nil {
			t.Fatal(err)
		}
		header := types.CopyHeader(f.at(50).Header())
		header.GasUsed++
		bad := types.NewBlockWithHeader(header).WithBody(*f.at(50).Body())
		for range 2 {
			status := f.payload(bad, time.Minute)
			f.want("bad block after a gap", status, Invalid)
			if status.LatestValid != nil {
				t.Errorf("latestValidHash %x: blocks 3 to 49 are said to be invalid", *status.LatestValid)
			}
		}
	})
}

// TestTimeout: the answer comes at the caller's timeout, the outcome later.
func TestTimeout(t *testing.T) {
	inImporterBubble(t, 5, 30, func(f *fixture) {
		f.set(100*time.Millisecond, true)
		began := time.Now()
		f.want("mute network", f.payload(f.at(5), 4*time.Second), Syncing)
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("answered after %v", took)
		}
		if status := f.importer.Status(); len(status.Pending) != 1 || status.Pending[0].Stage == "queued" || status.Newest != 5 {
			t.Errorf("status while waiting: %+v", status)
		}
		f.set(100*time.Millisecond, false)
		f.want("asked again", f.payload(f.at(5), time.Minute), Valid)
	})
}

// TestMissingAncestors: a gap within the lag is filled and executed.
func TestMissingAncestors(t *testing.T) {
	inImporterBubble(t, 30, 10, func(f *fixture) {
		f.follow(10, 10)
		f.want("8 blocks later", f.payload(f.at(18), time.Minute), Valid)
		for number := 11; number <= 18; number++ {
			if f.chain.Status(f.at(number).Hash()) != chain.Executed {
				t.Errorf("block %d was not executed", number)
			}
		}
		// Blocks that are given out of order wait for their parents.
		done := make(chan Outcome, 4)
		for _, number := range []int{22, 21, 20, 19} {
			go func() { done <- f.payload(f.at(number), time.Minute) }()
		}
		for range 4 {
			f.want("out of order", <-done, Valid)
		}
	})
}

// TestInvalid: a bad block and its descendants are INVALID, with the right latestValidHash.
func TestInvalid(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(10, 11)
		header := types.CopyHeader(f.at(12).Header())
		header.Root = common.Hash{0xba, 0xd0}
		bad := types.NewBlockWithHeader(header).WithBody(*f.at(12).Body())
		child := types.CopyHeader(f.at(12).Header())
		child.ParentHash, child.Number, child.Time = bad.Hash(), big.NewInt(13), bad.Time()+12
		on := types.NewBlockWithHeader(child).WithBody(*f.at(12).Body())
		grandchild := types.CopyHeader(child)
		grandchild.ParentHash, grandchild.Number, grandchild.Time = on.Hash(), big.NewInt(14), on.Time()+12
		onTop := types.NewBlockWithHeader(grandchild).WithBody(*f.at(12).Body())
		for at, block := range []*types.Block{bad, on, onTop, bad, onTop} {
			what := fmt.Sprintf("call %d", at)
			status := f.payload(block, time.Minute)
			f.want(what, status, Invalid)
			if status.LatestValid == nil || *status.LatestValid != f.at(11).Hash() {
				t.Errorf("%s: latestValidHash %v, want block 11", what, status.LatestValid)
			}
		}
		if kept := f.chain.BadBlocks(); len(kept) != 1 || kept[0].Hash() != bad.Hash() {
			t.Errorf("%d bad blocks are kept", len(kept))
		}
		status, err := f.choose(bad.Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("bad head", status, Invalid)
		f.head(f.at(11))
		f.follow(12, 12) // the good block of that number
	})
}

// TestInvalidTogether: the child of a bad block that is being imported has the same latestValidHash at once and later.
func TestInvalidTogether(t *testing.T) {
	inImporterBubble(t, 13, 30, func(f *fixture) {
		f.follow(10, 11)
		header := types.CopyHeader(f.at(12).Header())
		header.Root[0]++ // its child's header says nothing of that
		bad := types.NewBlockWithHeader(header).WithBody(*f.at(12).Body())
		header = types.CopyHeader(f.at(13).Header())
		header.ParentHash = bad.Hash()
		child := types.NewBlockWithHeader(header).WithBody(*f.at(13).Body())
		statuses := make(chan Outcome, 3)
		for _, block := range []*types.Block{bad, child} {
			go func() { statuses <- f.payload(block, time.Minute) }()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		statuses <- f.payload(child, time.Minute)
		for range 3 {
			status := <-statuses
			f.want("bad block and child", status, Invalid)
			if status.LatestValid == nil || *status.LatestValid != f.at(11).Hash() {
				t.Errorf("latestValidHash %v, want block 11", status.LatestValid)
			}
		}
	})
}

// TestInvalidNumber: what a bad block says its number is does not make the node one that is far behind.
func TestInvalidNumber(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(10, 11)
		header := types.CopyHeader(f.at(12).Header())
		header.Number = big.NewInt(1 << 40)
		f.want("bad number", f.payload(types.NewBlockWithHeader(header).WithBody(*f.at(12).Body()), time.Minute), Invalid)
		if status := f.importer.Status(); status.Newest != 11 || status.Lag != 0 {
			t.Errorf("newest %d, %d blocks behind", status.Newest, status.Lag)
		}
	})
}

// TestBodyMismatch: a wrong body under a good hash says nothing about the hash.
func TestBodyMismatch(t *testing.T) {
	inImporterBubble(t, 11, 30, func(f *fixture) {
		f.follow(10, 10)
		wrong := types.NewBlockWithHeader(f.at(11).Header()).WithBody(*f.at(10).Body())
		f.want("wrong body", f.payload(wrong, time.Minute), Invalid)
		f.want("right body", f.payload(f.at(11), time.Minute), Valid)
	})
	inImporterBubble(t, 12, 30, func(f *fixture) { // nor about a child that waits for it
		f.follow(9, 9)
		wrong := types.NewBlockWithHeader(f.at(11).Header()).WithBody(*f.at(10).Body())
		f.set(time.Second, false)
		for _, block := range []*types.Block{f.at(10), wrong, f.at(12)} {
			go f.payload(block, time.Minute)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		f.want("block 11", f.payload(f.at(11), time.Minute), Valid)
		f.want("block 12", f.payload(f.at(12), time.Minute), Valid)
	})
}

// blindStore is a store that cannot read headers any more. Its other half, refusing writes from then on, is not needed here.
type blindStore struct {
	chain.Store
	blind atomic.Bool
}

func (s *blindStore) Header(hash common.Hash, number uint64) *types.Header {
	if s.blind.Load() {
		return nil
	}
	return s.Store.Header(hash, number)
}

// TestParentNotRead: a good block is not invalid because the header of its parent cannot be read.
func TestParentNotRead(t *testing.T) {
	genesis, made := missedChain(3, 0)
	disk, err := db.OpenMemory(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	before, err := chain.New(disk.Chain(), genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range made {
		if err := before.Commit(block, types.Receipts{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := before.SetHead(made[2].Hash()); err != nil {
		t.Fatal(err)
	}
	store := &blindStore{Store: disk.Chain()}
	chained, err := chain.New(store, genesis) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	importer, _ := newLocalImporter(t, genesis, false, func(cfg *Config) { cfg.Chain = chained })
	store.blind.Store(true)
	header := made[2].Header()
	header.Extra = []byte{1}
	block := types.NewBlockWithHeader(header).WithBody(*made[2].Body())
	if status := payload(t, importer, block, time.Second); status.Status != Syncing {
		t.Errorf("%s %s", status.Status, reasonOf(status))
	}
	if latest, err := chained.Rejection(block.Hash()); err != nil {
		t.Errorf("remembered as invalid: %v, %v", err, latest)
	}
}
