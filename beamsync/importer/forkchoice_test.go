// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// TestChosenBeforeExecuted: a choice that was answered SYNCING takes effect with the outcome, unless
// another one came in between.
func TestChosenBeforeExecuted(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(9, 9)
		f.set(100*time.Millisecond, true)
		f.want("payload", f.payload(f.at(10), time.Second), Syncing)
		status, err := f.choose(f.at(10).Hash(), common.Hash{}, common.Hash{}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f.want("early choice", status, Syncing)
		f.set(100*time.Millisecond, false)
		time.Sleep(time.Minute)
		f.head(f.at(10))

		f.set(100*time.Millisecond, true)
		f.payload(f.at(11), time.Second)
		_, _ = f.choose(f.at(11).Hash(), common.Hash{}, common.Hash{}, time.Second)
		_, _ = f.choose(f.at(10).Hash(), common.Hash{}, common.Hash{}, time.Second)
		f.set(100*time.Millisecond, false)
		time.Sleep(time.Minute)
		if f.chain.Status(f.at(11).Hash()) != chain.Executed {
			t.Fatal("block 11 was not executed")
		}
		f.head(f.at(10))
	})
}

// TestLaterChoiceWins: a forkchoice that waits for its head is not applied after a later one.
func TestLaterChoiceWins(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(9, 9)
		f.set(100*time.Millisecond, true)
		f.payload(f.at(10), time.Second)
		early := make(chan Outcome)
		go func() {
			status, err := f.choose(f.at(10).Hash(), common.Hash{}, common.Hash{}, time.Minute)
			if err != nil {
				t.Error(err)
			}
			early <- status
		}()
		synctest.Wait()
		status, err := f.choose(f.at(9).Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("later choice", status, Valid)
		f.set(100*time.Millisecond, false)
		f.want("earlier choice", <-early, Valid)
		f.head(f.at(9))
		f.follow(10, 10)
	})
}

// TestUnknownHead: a head that was never a payload is fetched by its hash.
func TestUnknownHead(t *testing.T) {
	inImporterBubble(t, 12, 30, func(f *fixture) {
		f.follow(9, 9)
		status, err := f.choose(f.at(12).Hash(), common.Hash{}, common.Hash{}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("unknown head", status, Valid)
		f.head(f.at(12))
		began := time.Now()
		status, err = f.choose(common.Hash{0xaa}, common.Hash{}, common.Hash{}, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		f.want("a head that no peer has", status, Syncing)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("answered after %v", took)
		}
	})
}

// TestReorg: the head moves to a side chain and back.
func TestReorg(t *testing.T) {
	inImporterBubble(t, 4, 30, func(f *fixture) {
		f.follow(1, 4)
		for _, block := range f.side {
			f.want("side", f.payload(block, time.Minute), Valid)
		}
		tip := f.side[len(f.side)-1]
		if _, err := f.choose(tip.Hash(), common.Hash{}, common.Hash{}, time.Minute); err != nil {
			t.Fatal(err)
		}
		f.head(tip)
		if f.chain.CanonicalHash(2) != f.side[0].Hash() {
			t.Error("the canonical chain is still the old one")
		}
		if _, err := f.choose(f.at(4).Hash(), common.Hash{}, common.Hash{}, time.Minute); err != nil {
			t.Fatal(err)
		}
		f.head(f.at(4))
		if n := testutil.ToFloat64(f.importer.metrics.reorgs); n != 2 {
			t.Errorf("%v reorgs counted", n)
		}
	})
}

// TestMarkers: safe and finalized blocks from before beaming began are no error, and found;
// those of another branch are refused.
func TestMarkers(t *testing.T) {
	inImporterBubble(t, 50, 30, func(f *fixture) {
		f.follow(45, 46)
		status, err := f.choose(f.at(46).Hash(), f.at(40).Hash(), f.at(20).Hash(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		f.want("markers below the beginning", status, Valid)
		time.Sleep(time.Minute)
		if final := f.chain.Finalized(); final == nil || final.Hash() != f.at(20).Hash() {
			t.Errorf("finalized is %v, want block 20", final)
		}
		if safe := f.chain.Safe(); safe == nil || safe.Hash() != f.at(40).Hash() {
			t.Errorf("safe is %v, want block 40", safe)
		}
		f.follow(47, 50)
		_, err = f.choose(f.at(47).Hash(), f.at(50).Hash(), f.at(20).Hash(), time.Minute)
		if !errors.Is(err, chain.ErrNotCanonical) {
			t.Errorf("a safe block above the head: %v", err)
		}
	})
	inImporterBubble(t, 3, 30, func(f *fixture) { // the whole chain is stored, so no other block is part of it
		f.follow(1, 3)
		for _, markers := range [][2]common.Hash{{{0xee}, f.at(1).Hash()}, {f.at(1).Hash(), {0xee}}} {
			_, err := f.choose(f.at(3).Hash(), markers[0], markers[1], time.Minute)
			if !errors.Is(err, chain.ErrNotCanonical) {
				t.Errorf("an unknown marker: %v", err)
			}
		}
		if f.chain.Finalized() != nil || f.chain.Safe() != nil {
			t.Error("a refused marker was kept")
		}
	})
}

// TestShorterChain: a reorg to a chain with fewer blocks leaves the node at its head, not behind an obsolete one.
func TestShorterChain(t *testing.T) {
	inImporterBubble(t, 16, 30, func(f *fixture) {
		f.follow(10, 14)
		f.follow(11, 11)
		if status := f.importer.Status(); status.Head != 11 || status.Lag != 0 {
			t.Errorf("head %d, %d blocks behind", status.Head, status.Lag)
		}
		f.set(time.Second, true)
		f.payload(f.at(15), time.Second)
		if _, err := f.choose(f.at(12).Hash(), common.Hash{}, common.Hash{}, time.Second); err != nil {
			t.Error(err)
		}
		if status := f.importer.Status(); status.Head != 12 || status.Newest != 15 {
			t.Errorf("head %d, newest %d", status.Head, status.Newest)
		}
	})
}
