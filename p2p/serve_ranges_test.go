// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
)

// TestServeRangesLikeGeth compares ranges with those of go-ethereum's server, byte by byte.
func TestServeRangesLikeGeth(t *testing.T) {
	chain := newTestChain(t)
	p := NewPeer(Link{ID: "p", Version: 71}, chain.serving())
	rng := rand.New(rand.NewPCG(5, 6))
	key := func() (h common.Hash) {
		switch rng.IntN(6) {
		case 0:
			return common.Hash{}
		case 1:
			return common.MaxHash
		case 2:
			return crypto.Keccak256Hash(testStorer[:])
		}
		for i := range h {
			h[i] = byte(rng.Uint32())
		}
		return h
	}
	size := func() uint64 { return []uint64{0, 1, 100, 2000, 20_000, 4 << 20}[rng.IntN(6)] }
	seen := make(map[[3]int]int) // accounts or slots, lists, proof
	for range 120 {
		root := chain.Header(chain.hash(testBlocks - rng.Uint64N(130))).Root
		query := snap.GetAccountRangePacket{Root: root, Origin: key(), Limit: key(), Bytes: size()}
		copied := query
		accounts, proof := snap.ServiceGetAccountRangeQuery(chain.BlockChain, &copied)
		reply, err := p.serveAccountRange(&query)
		if err != nil {
			t.Fatal(err)
		}
		got := reply.(*snap.AccountRangePacket)
		if !slices.EqualFunc(got.Accounts, accounts, func(a, b *snap.AccountData) bool { return a.Hash == b.Hash && bytes.Equal(a.Body, b.Body) }) {
			t.Fatalf("%+v: %d accounts, want %d, or others", query, len(got.Accounts), len(accounts))
		}
		sameNodes(t, query, got.Proof, proof)
		seen[[3]int{0, min(len(accounts), 2), min(len(proof), 1)}]++
	}
	storer, unknown := crypto.Keccak256Hash(testStorer[:]), common.Hash{1}
	sender := crypto.Keccak256Hash(testSender[:]) // has no storage
	for range 120 {
		root := chain.Header(chain.hash(testBlocks - rng.Uint64N(130))).Root
		query := snap.GetStorageRangesPacket{Root: root, Bytes: size()}
		for range rng.IntN(4) {
			query.Accounts = append(query.Accounts, []common.Hash{storer, storer, unknown, sender}[rng.IntN(4)])
		}
		if rng.IntN(3) == 0 {
			query.Origin = key().Bytes()
		}
		if rng.IntN(3) == 0 {
			query.Limit = key().Bytes()
		}
		copied := query
		slots, proof := snap.ServiceGetStorageRangesQuery(chain.BlockChain, &copied)
		reply, err := p.serveStorageRanges(&query)
		if err != nil {
			t.Fatal(err)
		}
		got := reply.(*snap.StorageRangesPacket)
		if !slices.EqualFunc(got.Slots, slots, func(a, b []*snap.StorageData) bool {
			return slices.EqualFunc(a, b, func(a, b *snap.StorageData) bool { return a.Hash == b.Hash && bytes.Equal(a.Body, b.Body) })
		}) {
			t.Fatalf("%+v: %d lists of slots, want %d, or others", query, len(got.Slots), len(slots))
		}
		sameNodes(t, query, got.Proof, proof)
		seen[[3]int{1, min(len(slots), 2), min(len(proof), 1)}]++
	}
	for _, kind := range [][3]int{{0, 0, 1}, {0, 1, 1}, {0, 2, 1}, {1, 0, 0}, {1, 0, 1}, {1, 1, 0}, {1, 1, 1}, {1, 2, 0}, {1, 2, 1}} {
		if seen[kind] == 0 {
			t.Errorf("no reply of the kind %v: %v", kind, seen)
		}
	}
}

// sameNodes compares proofs: sets of nodes.
func sameNodes(t *testing.T, query any, got, want [][]byte) {
	t.Helper()
	got, want = slices.SortedFunc(slices.Values(got), bytes.Compare), slices.SortedFunc(slices.Values(want), bytes.Compare)
	want = slices.CompactFunc(want, bytes.Equal)
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%+v: proof of %d nodes, want %d, or others", query, len(got), len(want))
	}
}

func TestRangesWithoutState(t *testing.T) {
	chain := newTestChain(t)
	cfg := chain.serving()
	p := NewPeer(Link{ID: "p", Version: 71}, cfg)
	cfg.State = nil
	for _, p := range []*Peer{p, NewPeer(Link{ID: "p", Version: 71}, cfg)} {
		accounts, err := p.serveAccountRange(&snap.GetAccountRangePacket{ID: 9, Root: common.Hash{1}, Limit: common.MaxHash, Bytes: 1 << 20})
		equal(t, "accounts", fmt.Sprintf("%+v %v", accounts, err), "&{ID:9 Accounts:[] Proof:[]} <nil>")
		slots, err := p.serveStorageRanges(&snap.GetStorageRangesPacket{ID: 9, Root: common.Hash{1}, Accounts: []common.Hash{{1}}, Bytes: 1 << 20})
		equal(t, "slots", fmt.Sprintf("%+v %v", slots, err), "&{ID:9 Slots:[] Proof:[]} <nil>")
	}
}
