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

// dataServer serves states by hash only, after a delay, backwards.
type dataServer struct {
	rangeServer
	byHash map[common.Hash][]byte
	lacks  func(hash common.Hash) bool // may be nil
	lies   bool
	most   atomic.Int64 // hashes asked for at once
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
	if p.lies && len(blobs) > 0 {
		blobs[0] = append([]byte{0}, blobs[0]...)
	}
	return blobs, nil
}

// TestBackfillByHash: with peers that serve no ranges, the walk goes node by node, with whole
// requests and many of them at a time.
func TestBackfillByHash(t *testing.T) {
	state := newLeafState(60_000, 0)
	synctest.Test(t, func(t *testing.T) {
		server := newDataServer("a", state)
		bed := newRig(t, state.root, 0, nil)
		bed.Join(server)
		took := bed.within(t, time.Minute, state)
		if most := server.most.Load(); most != peer.MaxNodeData {
			t.Errorf("at most %d hashes in a request", most)
		}
		if asked := int(server.asked.Load()); asked > len(state.nodes)/peer.MaxNodeData+50 {
			t.Errorf("%d requests for %d nodes", asked, len(state.nodes))
		}
		if took > 2*time.Second { // 20 trips of 50 ms, and requests beside each other
			t.Errorf("took %v", took)
		}
	})
}

// TestBackfillByHashBadPeers: gaps are asked for elsewhere or again, a lie ends a peer.
func TestBackfillByHashBadPeers(t *testing.T) {
	state := newLeafState(5000, 0)
	synctest.Test(t, func(t *testing.T) {
		liar, partial, empty := newDataServer("liar", state), newDataServer("partial", state), newDataServer("empty")
		liar.lies = true
		var good atomic.Bool
		partial.lacks = func(hash common.Hash) bool { return hash[0]%2 == 0 && !good.Load() }
		bed := newRig(t, state.root, 0, nil)
		bed.lies.Store(0)
		for _, p := range []*dataServer{liar, partial, empty} {
			bed.Join(p)
		}
		time.Sleep(20 * time.Second)
		select {
		case <-bed.Done():
			t.Fatal("complete without half of the nodes")
		default:
		}
		good.Store(true)
		bed.within(t, time.Minute, state)
		if lies := bed.lies.Load(); lies != 1 {
			t.Errorf("blamed %d times for a lie", lies)
		}
	})
}

// TestBackfillRangesBeforeHashes: where a peer serves ranges, nobody is asked node by node.
func TestBackfillRangesBeforeHashes(t *testing.T) {
	state := newLeafState(20_000, 0)
	synctest.Test(t, func(t *testing.T) {
		ranges := &rangeServer{id: "ranges", states: []*leafState{state}, delay: 50 * time.Millisecond}
		data := newDataServer("data", state)
		bed := newRig(t, state.root, 0, ranges.states, ranges)
		bed.Join(data)
		bed.within(t, time.Minute, state)
		if asked := data.asked.Load(); asked > 3 { // what is above the ranges
			t.Errorf("%d requests by hash", asked)
		}
	})
}

func TestMatchData(t *testing.T) {
	a, b := []byte("one node"), []byte("another one")
	hashes := []common.Hash{crypto.Keccak256Hash(a), crypto.Keccak256Hash(b)}
	if nodes, size, err := matchNodeData(hashes, [][]byte{b, a, b}); err != nil || len(nodes) != 2 || size != len(a)+2*len(b) {
		t.Errorf("%d nodes of %d bytes, %v", len(nodes), size, err)
	}
	var lie *trie.InvalidRangeError
	if _, _, err := matchNodeData(hashes[:1], [][]byte{a, b}); !errors.As(err, &lie) {
		t.Errorf("what nobody asked for: %v", err)
	}
}
