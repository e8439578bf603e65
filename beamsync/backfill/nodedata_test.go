// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// dataServer serves nodes by hash only, after a delay, in reverse order.
type dataServer struct {
	rangeServer
	byHash map[common.Hash][]byte
	lacks  func(hash common.Hash) bool // may be nil
	tamper bool                        // changes a node of each response
	most   atomic.Int64                // hashes in a request
}

func newDataServer(id string, states ...*leafState) *dataServer {
	p := &dataServer{rangeServer: rangeServer{id: id, delay: 50 * time.Millisecond}, byHash: make(map[common.Hash][]byte)}
	for _, s := range states {
		for _, blob := range s.nodes {
			p.byHash[crypto.Keccak256Hash(blob)] = blob
		}
	}
	return p
}

func (p *dataServer) ServesState() bool { return false }

func (p *dataServer) ServesNodeData() bool { return true }

func (p *dataServer) NodeData(ctx context.Context, hashes []common.Hash) (blobs [][]byte, err error) {
	p.asked.Add(1)
	p.most.Store(max(p.most.Load(), int64(len(hashes))))
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(p.delay):
	}
	for _, hash := range slices.Backward(hashes) {
		if blob := p.byHash[hash]; blob != nil && (p.lacks == nil || !p.lacks(hash)) {
			blobs = append(blobs, blob)
		}
	}
	if p.tamper && len(blobs) > 0 {
		blobs[0] = append([]byte{0}, blobs[0]...)
	}
	return blobs, nil
}

// TestBackfillByHash: with peers that serve no ranges, the walk goes node by node, with full
// requests and many of them in flight.
func TestBackfillByHash(t *testing.T) {
	t.Parallel()
	state := newLeafState(60_000, 0)
	synctest.Test(t, func(t *testing.T) {
		server := newDataServer("a", state)
		r := newRig(t, state.root, 0, nil)
		r.Join(server)
		took := r.within(t, time.Minute, state)
		if most := server.most.Load(); most != peer.MaxNodeData {
			t.Errorf("at most %d hashes in a request", most)
		}
		if asked := int(server.asked.Load()); asked > len(state.nodes)/peer.MaxNodeData+50 {
			t.Errorf("%d requests for %d nodes", asked, len(state.nodes))
		}
		if took > 2*time.Second { // 20 round trips of 50 ms, with concurrent requests
			t.Errorf("took %v", took)
		}
	})
}

// TestBackfillByHashBadPeers: missing nodes are requested again, also from other peers; invalid data bans a peer.
func TestBackfillByHashBadPeers(t *testing.T) {
	t.Parallel()
	state := newLeafState(5000, 0)
	synctest.Test(t, func(t *testing.T) {
		invalid, partial, empty := newDataServer("invalid", state), newDataServer("partial", state), newDataServer("empty")
		invalid.tamper = true
		var good atomic.Bool
		partial.lacks = func(hash common.Hash) bool { return hash[0]%2 == 0 && !good.Load() }
		r := newRig(t, state.root, 0, nil)
		r.invalid.Store(0)
		for _, p := range []*dataServer{invalid, partial, empty} {
			r.Join(p)
		}
		time.Sleep(20 * time.Second)
		select {
		case <-r.Done():
			t.Fatal("complete without half of the nodes")
		default:
		}
		good.Store(true)
		r.within(t, time.Minute, state)
		if n := r.invalid.Load(); n != 1 {
			t.Errorf("blamed %d times for invalid data", n)
		}
	})
}

// TestBackfillRangesBeforeHashes: while a peer serves ranges, no nodes are requested by hash.
func TestBackfillRangesBeforeHashes(t *testing.T) {
	t.Parallel()
	state := newLeafState(20_000, 0)
	synctest.Test(t, func(t *testing.T) {
		ranges := &rangeServer{id: "ranges", states: []*leafState{state}, delay: 50 * time.Millisecond}
		data := newDataServer("data", state)
		r := newRig(t, state.root, 0, ranges.states, ranges)
		r.Join(data)
		r.within(t, time.Minute, state)
		if asked := data.asked.Load(); asked > 3 { // the nodes above the ranges
			t.Errorf("%d requests by hash", asked)
		}
	})
}

func TestMatchData(t *testing.T) {
	t.Parallel()
	a, b := []byte("one node"), []byte("another one")
	hashes := []common.Hash{crypto.Keccak256Hash(a), crypto.Keccak256Hash(b)}
	if nodes, size, err := matchNodeData(hashes, [][]byte{b, a, b}); err != nil || len(nodes) != 2 || size != len(a)+2*len(b) {
		t.Errorf("%d nodes of %d bytes, %v", len(nodes), size, err)
	}
	var invalid *trie.InvalidRangeError
	if _, _, err := matchNodeData(hashes[:1], [][]byte{a, b}); !errors.As(err, &invalid) {
		t.Errorf("an unrequested blob: %v", err)
	}
}
