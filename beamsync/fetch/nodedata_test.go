// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestHashPeer: ways are walked level by level, and all of them at a time.
func TestHashPeer(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peer := beamtest.NewHashPeer("a")
		r.Join(peer)
		faults := make([]trie.Fault, 500)
		for i := range faults {
			faults[i] = beamtest.RootFault(i)
		}
		for i := range beamtest.Contracts {
			for s := range 20 {
				faults[i].StorageKeys = append(faults[i].StorageKeys, crypto.Keccak256Hash(beamtest.SlotOf(s).Bytes()))
			}
		}
		session := r.Session(sched.Urgent)
		if err := session.FetchMany(r.Ctx, faults, beamtest.TheState().Code); err != nil {
			t.Fatal(err)
		}
		reader, err := trie.Open(r.Ctx, beamtest.TheState().Root, r.Cache, nothing{t}).Reader(beamtest.TheState().Root)
		if err != nil {
			t.Fatal(err)
		}
		for i := range faults {
			account, err := reader.Account(beamtest.AddressOf(i))
			if err != nil || account.Balance.Uint64() != uint64(i) {
				t.Fatal(i, account, err)
			}
		}
		for i := range beamtest.Contracts {
			for s := range 20 {
				if value, err := reader.Storage(beamtest.AddressOf(i), beamtest.SlotOf(s)); err != nil || value != beamtest.ValueOf(s) {
					t.Fatal(i, s, value, err)
				}
			}
		}
		// 3,000 accounts and 400 slots are some 4 and 3 levels, a few more here and there.
		if stats := session.Stats(); stats.Trips < 6 || stats.Trips > 10 || stats.Codes != beamtest.Contracts {
			t.Errorf("stats %+v", stats)
		}
		if blamed := r.Blames.All(); len(blamed) > 0 {
			t.Error(blamed)
		}
	})
}

// TestHashPeerGaps: what is missing says nothing, what was not requested is invalid.
func TestHashPeerGaps(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		first, second := beamtest.NewHashPeer("first"), beamtest.NewHashPeer("second")
		all := first.Data
		first.Data = func(hash common.Hash) []byte {
			if hash[0]%2 == 0 {
				return nil
			}
			return all(hash)
		}
		r.Join(first)
		r.Join(second)
		faults := []trie.Fault{beamtest.RootFault(1), beamtest.RootFault(2), beamtest.RootFault(3), beamtest.RootFault(4), beamtest.RootFault(5)}
		if err := r.Session(sched.Urgent).FetchMany(r.Ctx, faults, beamtest.TheState().Code); err != nil {
			t.Fatal(err)
		}
		if blamed := r.Blames.All(); len(blamed) > 0 {
			t.Errorf("gaps were blamed: %v", blamed)
		}
		r.Leave("second")
		first.Data = func(hash common.Hash) []byte { return append(hash.Bytes(), 1) }
		ctx, cancel := context.WithTimeout(r.Ctx, time.Second)
		defer cancel()
		if err := r.Session(sched.Urgent).FetchMany(ctx, []trie.Fault{beamtest.RootFault(700)}, nil); err == nil {
			t.Error("garbage was taken")
		}
		if blamed := r.Blames.All(); !slices.Equal(blamed, []string{"first:invalid"}) {
			t.Errorf("blames %v", blamed)
		}
	})
}

// TestBothWays: a peer that serves both ways is asked for a way by path, for a single node by
// hash, and for one that it knows by path only, by path the second time.
func TestBothWays(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peer := beamtest.NewHashPeer("a")
		peer.Paths = true
		byHash := make(map[common.Hash]bool)
		all := peer.Data
		peer.Data = func(hash common.Hash) []byte {
			byHash[hash] = true
			if hash == beamtest.TheState().Root {
				return nil
			}
			return all(hash)
		}
		r.Join(peer)
		session := r.Session(sched.Background)
		root := beamtest.RootFault(0)
		root.Key = nil
		if err := session.FetchMany(r.Ctx, []trie.Fault{root}, nil); err != nil {
			t.Fatal(err)
		}
		if len(byHash) != 1 {
			t.Errorf("asked for %d nodes by hash", len(byHash))
		}
		if err := session.FetchMany(r.Ctx, []trie.Fault{beamtest.RootFault(1)}, nil); err != nil {
			t.Fatal(err)
		}
		if len(byHash) != 1 {
			t.Errorf("a way was asked for by hash: %d nodes", len(byHash))
		}
		if blamed := r.Blames.All(); len(blamed) > 0 {
			t.Error(blamed)
		}
	})
}
