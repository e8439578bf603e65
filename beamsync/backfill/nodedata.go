// SPDX-License-Identifier: LGPL-3.0-or-later

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

// Peers of eth/66 serve no ranges but nodes by hash (GetNodeData), many at a time and fast. Where there
// are no other peers, the walk goes node by node and asks them directly: the responses go to the walker
// and need not pass through Hot.

// nodeBytes is about the size of a node, for the rate limit.
const nodeBytes = 400

// onlyNodeData says whether all peers serve nodes by hash and no ranges, or ranges that are not to be had of them.
func (w *walk) onlyNodeData() bool {
	if w.b.peers.allExcluded() {
		return true
	}
	ranges, _, _ := w.b.peers.count(common.Hash{})
	data, _, _ := w.b.data.count(common.Hash{})
	return ranges == 0 && data > 0
}

// onPeersChanged chooses between ranges and single nodes after peers have joined.
func (w *walk) onPeersChanged() {
	w.walker.ByNodes(w.onlyNodeData())
	w.unservedSince = time.Time{}
}

// askNodeData requests nodes by hash from a peer.
func (w *walk) askNodeData(ctx context.Context, p *rangePeer, need *trie.Need) {
	t := w.newTask(task{need: need, peer: p, pool: w.b.data})
	w.newest[w.b.data] = t
	w.sendNodeData(ctx, p, t)
}

// sendNodeData sends one request for nodes by hash.
func (w *walk) sendNodeData(ctx context.Context, p *rangePeer, t *task) {
	refs := t.need.Refs
	refs = refs[:min(len(refs), w.b.data.acquire(p, len(refs), strangerRefs))]
	t.open++
	most := nodeBytes * len(refs)
	w.bucket.spend(most)
	w.requests.Add(1)
	go func() {
		defer w.requests.Done()
		r := &response{need: t.need, task: t, asked: most, peer: p, byHash: true, began: time.Now()}
		hashes := make([]common.Hash, len(refs))
		for i, ref := range refs {
			hashes[i] = ref.Hash
		}
		limited, cancel := context.WithTimeout(ctx, rangeDeadline)
		blobs, err := peer.AsDataPeer(p.RangePeer).NodeData(limited, hashes)
		cancel()
		r.took = time.Since(r.began)
		if r.err = err; err == nil {
			r.nodes, r.bytes, r.err = matchNodeData(hashes, blobs)
		}
		w.responses <- r
	}()
}

// matchNodeData finds the requested nodes in a response. Any other blob makes the response invalid.
func matchNodeData(hashes []common.Hash, blobs [][]byte) (nodes map[common.Hash][]byte, size int, err error) {
	wanted := make(map[common.Hash]bool, len(hashes))
	for _, hash := range hashes {
		wanted[hash] = true
	}
	nodes = make(map[common.Hash][]byte, len(blobs))
	for _, blob := range blobs {
		hash := crypto.Keccak256Hash(blob)
		if !wanted[hash] {
			return nil, size, &trie.InvalidRangeError{Detail: fmt.Sprintf("no node with hash %x was requested, the response has one of %d bytes", hash, len(blob))}
		}
		nodes[hash] = blob
		size += len(blob)
	}
	return nodes, size, nil
}

// handleNodeData handles the response to a request for nodes by hash.
func (w *walk) handleNodeData(ctx context.Context, r *response) error {
	w.received(r)
	r.task.open--
	result := w.classifyNodeData(ctx, r)
	w.b.metrics.requests.WithLabelValues(r.need.Kind.String(), result).Inc()
	if result == peer.ResultCancelled {
		w.b.data.release(r.peer)
		w.failed(r.task)
		return nil
	}
	served := result == peer.ResultOK || result == peer.ResultPartial
	w.b.data.finish(r.peer, w.target.Root, r.began, time.Since(r.began), served, result == peer.ResultEmpty)
	if !served {
		w.failed(r.task)
		return nil
	}
	w.b.metrics.took.WithLabelValues(r.need.Kind.String()).Observe(r.took.Seconds())
	if !w.end(r.task) {
		w.discard(r)
		return nil
	}
	w.sharing.patience.received(r.bytes, false)
	return w.walker.Give(r.need, r.nodes)
}

// classifyNodeData names the result of a request for nodes by hash, and blames the peer for what it did.
func (w *walk) classifyNodeData(ctx context.Context, r *response) (result string) {
	var invalid *trie.InvalidRangeError
	switch {
	case errors.As(r.err, &invalid):
		w.b.cfg.Book.Blame(r.peer.ID(), peer.BlameInvalid, fmt.Sprintf("%s: %v", r.need.Kind, invalid))
		return peer.ResultInvalid
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		w.b.cfg.Book.TimedOut(r.peer.ID(), peer.KindState, r.began)
		w.b.cfg.Book.Blame(r.peer.ID(), peer.BlameTimeout, "no response to a request for nodes by hash in time")
		return peer.ResultTimeout
	case r.err != nil:
		return peer.ResultOf(ctx, r.err)
	case len(r.nodes) == 0:
		return peer.ResultEmpty
	case len(r.nodes) < len(r.need.Refs): // or some were requested twice
		return peer.ResultPartial
	}
	return peer.ResultOK
}
