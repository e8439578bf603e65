// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// wantsAll requests state and headers for a second and reports whether state came.
func wantsAll(r *beamtest.Rig, key int) bool {
	ctx, cancel := context.WithTimeout(r.Ctx, time.Second)
	defer cancel()
	headers := make(chan struct{})
	go func() {
		defer close(headers)
		_, _ = r.Headers(ctx, common.Hash{1}, 1)
	}()
	err := r.Session(sched.Urgent).FetchMany(ctx, []trie.Fault{beamtest.RootFault(key)}, nil)
	<-headers
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		r.T.Error(err)
	}
	return err == nil
}

// TestPeerBannedElsewhere: a peer that sent invalid data to another user of the book leaves the
// scheduler and the chain queries at once, and does not come back with a reconnect, until its ban
// ends.
func TestPeerBannedElsewhere(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		a := beamtest.ChainPeerOf("a", beamtest.Serve(testChain(4)))
		r.Connect(a)
		if !wantsAll(r, 1) || a.Asked == 0 {
			t.Fatal("the peer was not asked while it was not banned")
		}
		r.Book.Blame("a", peer.BlameInvalid, "an invalid range")
		synctest.Wait()
		state, chain := a.Served(), a.Asked
		for range 3 {
			if wantsAll(r, 2) {
				t.Error("state came from a banned peer")
			}
			r.Leave("a")
			r.Join(a)
			synctest.Wait()
		}
		if a.Served() != state || a.Asked != chain {
			t.Errorf("a banned peer was asked %d times for state and %d times for headers", a.Served()-state, a.Asked-chain)
		}
		if r.OldBlockPeers(1) != 0 {
			t.Error("a banned peer counts as one that has old blocks")
		}
		time.Sleep(peer.BanTime)
		r.Join(a)
		if !wantsAll(r, 3) {
			t.Error("a peer whose ban has ended is not asked")
		}
	})
}

// TestInvalidStateBansForAll: what a peer sent to the scheduler counts for chain queries, too.
func TestInvalidStateBansForAll(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		a := beamtest.ChainPeerOf("a", beamtest.Serve(testChain(4)))
		a.Mangle = func(int, [][]byte) ([][]byte, error) { return [][]byte{{1, 2, 3}}, nil }
		r.Connect(a)
		if err := r.Session(sched.Background).FetchMany(shortly(r), []trie.Fault{beamtest.RootFault(1)}, nil); err == nil {
			t.Fatal("invalid data was taken")
		}
		if !r.Book.Banned("a") {
			t.Fatal("not banned")
		}
		r.Leave("a")
		r.Join(a)
		asked := a.Asked
		wantsAll(r, 2)
		if a.Asked != asked || a.Served() != 1 {
			t.Errorf("it was asked again: %d requests for state, %d for headers", a.Served(), a.Asked-asked)
		}
	})
}

func shortly(r *beamtest.Rig) context.Context {
	ctx, cancel := context.WithTimeout(r.Ctx, time.Second)
	r.T.Cleanup(cancel)
	return ctx
}

// TestBackoffDelaysOldBlocksOnly: while the only peer backs off, headers that a block waits for are
// requested from it at once, and old bodies after the back-off.
func TestBackoffDelaysOldBlocksOnly(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		blocks, lists := testChain(5)
		a := beamtest.ChainPeerOf("a", beamtest.Serve(blocks, lists))
		r.Connect(a)
		headers, err := r.Headers(r.Ctx, blocks[4].Hash(), 3)
		if err != nil {
			t.Fatal(err)
		}
		sent := time.Now()
		time.Sleep(5 * time.Second)
		r.Book.TimedOut("a", peer.KindRanges, sent) // of the backfill
		r.Took(beamtest.RTT, func() {
			if _, err := r.Session(sched.Urgent).FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
				t.Fatal(err)
			}
		})
		// That state came ends the back-off of the whole peer, but not one for bodies.
		r.Book.Refused("a", peer.KindBodies, time.Now())
		r.Took(beamtest.RTT, func() {
			if _, err := r.Bodies(r.Ctx, headers); err != nil {
				t.Fatal(err)
			}
		})
		time.Sleep(time.Millisecond)
		sent = time.Now()
		time.Sleep(5 * time.Second)
		r.Book.TimedOut("a", peer.KindRanges, sent)
		r.Took(250*time.Millisecond+beamtest.RTT, func() {
			bodies, err := r.OldBodies(r.Ctx, headers)
			if err != nil || !hasAll(bodies) {
				t.Fatal(bodies, err)
			}
		})
	})
}

func hasAll(bodies []*types.Body) bool {
	for _, b := range bodies {
		if b == nil {
			return false
		}
	}
	return true
}

// TestOnlyPeerTimesOut: the only peer does not answer for a while; it is asked again as long as a
// caller waits, and never banned.
func TestOnlyPeerTimesOut(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		a := beamtest.NewFakePeer("a", beamtest.RTT)
		back := time.Now().Add(time.Minute)
		a.Stall = func(int) bool { return time.Now().Before(back) }
		r.Connect(a)
		if _, err := r.Session(sched.Urgent).FetchNode(r.Ctx, beamtest.RootFault(1)); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(back); late > 14*time.Second { // a deadline and a back-off
			t.Errorf("it came %v after the peer was back", late)
		}
		if r.Book.Banned("a") {
			t.Error("it was banned")
		}
	})
}
