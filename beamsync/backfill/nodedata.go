package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Peers of eth/66 have no ranges but serve nodes by hash, many at a time and fast. Where there
// are no others, the walk goes node by node and asks them directly: what comes is opened where
// it is wanted and need not pass through Hot.

// nodeBytes is about what a node takes, for the rate limit.
const nodeBytes = 400

// onlyData says whether all peers serve nodes by hash and no ranges.
func (w *walk) onlyData() bool {
	ranges, _, _ := w.b.peers.census(common.Hash{})
	data, _, _ := w.b.data.census(common.Hash{})
	return ranges == 0 && data > 0
}

// choose finds out what can be asked for after peers have come.
func (w *walk) choose() {
	w.walker.ByNodes(w.onlyData())
	w.alone = time.Time{}
}

// freeData returns a peer that can take a request for nodes by hash.
func (w *walk) freeData(now time.Time) (*rangePeer, time.Time) {
	peer, again := w.b.data.free(now, false)
	if wait := w.bucket.wait(now); wait > 0 && peer != nil {
		w.waiting = "for the rate limit"
		return nil, now.Add(wait)
	}
	return peer, again
}

// askData asks a peer for nodes by hash.
func (w *walk) askData(ctx context.Context, p *rangePeer, need *trie.Need) {
	w.b.data.take(p)
	w.bucket.spend(nodeBytes * len(need.Refs))
	w.wires.Add(1)
	go func() {
		defer w.wires.Done()
		r := &rangeResult{need: need, peer: p, data: true, began: time.Now()}
		hashes := make([]common.Hash, len(need.Refs))
		for i, want := range need.Refs {
			hashes[i] = want.Hash
		}
		limited, cancel := context.WithTimeout(ctx, rangeDeadline)
		blobs, err := peer.AsDataPeer(p.RangePeer).NodeData(limited, hashes)
		cancel()
		r.took = time.Since(r.began)
		if r.err = err; err == nil {
			r.nodes, r.bytes, r.err = matchData(hashes, blobs)
		}
		w.results <- r
	}()
}

// matchData finds what was asked for in a reply. Nothing else may be there.
func matchData(hashes []common.Hash, blobs [][]byte) (nodes map[common.Hash][]byte, size int, err error) {
	wanted := make(map[common.Hash]bool, len(hashes))
	for _, hash := range hashes {
		wanted[hash] = true
	}
	nodes = make(map[common.Hash][]byte, len(blobs))
	for _, blob := range blobs {
		hash := crypto.Keccak256Hash(blob)
		if !wanted[hash] {
			return nil, size, &trie.InvalidRangeError{Detail: fmt.Sprintf("%d bytes with hash %x are no node that was asked for", len(blob), hash)}
		}
		nodes[hash] = blob
		size += len(blob)
	}
	return nodes, size, nil
}

// takeData handles how a request for nodes by hash went.
func (w *walk) takeData(ctx context.Context, r *rangeResult) error {
	w.meter.bytes += uint64(r.bytes)
	w.bucket.spend(r.bytes - nodeBytes*len(r.need.Refs))
	result := w.judgeData(ctx, r)
	w.b.metrics.requests.WithLabelValues(r.need.Kind.String(), result).Inc()
	if result == peer.ResultCancelled {
		w.b.data.release(r.peer)
		w.walker.Return(r.need)
		return nil
	}
	served := result == peer.ResultOK || result == peer.ResultPartial
	w.b.data.put(r.peer, w.target.Root, time.Since(r.began), served, result == peer.ResultEmpty)
	if !served {
		w.walker.Return(r.need)
		return nil
	}
	w.b.metrics.took.WithLabelValues(r.need.Kind.String()).Observe(r.took.Seconds())
	return w.walker.Give(r.need, r.nodes)
}

// judgeData says how a request for nodes by hash ended, and blames the peer for what it did.
func (w *walk) judgeData(ctx context.Context, r *rangeResult) (result string) {
	var lie *trie.InvalidRangeError
	switch {
	case errors.As(r.err, &lie):
		if w.b.data.expel(r.peer.ID()) {
			w.b.log.Warn("Peer lied", "peer", r.peer.ID(), "kind", r.need.Kind.String(), "detail", lie.Detail)
			w.b.blame(r.peer.ID(), peer.BlameLie, lie.Error())
		}
		return peer.ResultLie
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		w.b.blame(r.peer.ID(), peer.BlameTimeout, "no reply to a request for nodes by hash in time")
		return peer.ResultTimeout
	case r.err != nil:
		return peer.ResultOf(ctx, r.err)
	case len(r.nodes) == 0:
		return peer.ResultEmpty
	case len(r.nodes) < len(r.need.Refs): // or some were wanted twice
		return peer.ResultPartial
	}
	return peer.ResultOK
}
