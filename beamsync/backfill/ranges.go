// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	rangeBytes       = 512 << 10             // requested at a time
	rangeWindow      = 16                    // most requests in flight to one peer: see rangePeer.window
	fairWindow       = 2                     // that a proven peer may always have, however many are in flight to others
	minBackgroundRTT = 50 * time.Millisecond // from request to response: see rangePeer.backgroundWindow
	maxRanges        = 64                    // requests in flight to all peers, beyond fairWindow for each: bounds memory
	maxLookupCalls   = 6                     // calls of StateSource in flight
	rangeDeadline    = 15 * time.Second      // of a request
	rangeRetry       = 30 * time.Second      // for which no ranges are requested when no peer serves them
)

// RangePeer is one connection that serves leaves of tries over snap/1. A call is one wire
// request. Keys increase, nothing else is verified. The p2p package implements it. One that is a
// [peer.DataPeer] may be asked for nodes by hash instead, if it serves no ranges.
type RangePeer interface {
	ID() string
	ServesState() bool
	// AccountLeaves returns accounts from origin to the first at or above limit, and the proof of both
	// ends. An empty response means that the peer does not have the root.
	AccountLeaves(ctx context.Context, root, origin, limit common.Hash, maxBytes uint64) (keys []common.Hash, values, proof [][]byte, err error)
	// StorageLeaves returns the storage of accounts, whole unless a proof follows for the
	// last one. Origin and limit are for the first.
	StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error)
}

// response is the outcome of a request for a need. If neither peer nor swarmPeer is set, StateSource was asked. A range
// passes twice: as it was received, and verified.
type response struct {
	need      *trie.Need
	task      *task // of a request to a peer
	asked     int   // bytes
	peer      *rangePeer
	swarmPeer *swarmPeer
	codes     int // that the swarm peer sent
	keys      [][]common.Hash
	values    [][][]byte
	proof     [][]byte
	verified  bool
	delivery  *trie.Delivery
	bytes     int
	began     time.Time
	took      time.Duration // from request to response
	err       error

	byHash bool                   // nodes were requested by hash
	nodes  map[common.Hash][]byte // the response to that, verified
}

// delivered counts the proved pieces.
func (r *response) delivered() (n int) {
	for _, piece := range r.delivery.Pieces {
		if piece != nil {
			n++
		}
	}
	return n
}

// askRange requests a range from a peer.
func (w *walk) askRange(ctx context.Context, p *rangePeer, need *trie.Need) {
	t := w.newTask(task{need: need, peer: p, pool: w.b.peers})
	w.newest[w.b.peers] = t
	w.sendRange(ctx, p, t)
}

// sendRange sends one request for a range.
func (w *walk) sendRange(ctx context.Context, p *rangePeer, t *task) {
	most := w.b.peers.acquire(p, rangeBytes, strangerBytes)
	t.open++
	w.bucket.spend(most)
	w.requests.Add(1)
	go func() {
		defer w.requests.Done()
		r := &response{need: t.need, task: t, asked: most, peer: p, began: time.Now()}
		limited, cancel := context.WithTimeout(ctx, rangeDeadline)
		r.keys, r.values, r.proof, r.err = requestRange(limited, p, w.target.Root, t.need, uint64(most))
		cancel()
		r.took, r.bytes = time.Since(r.began), sizeOf(r.keys, r.values, r.proof)
		w.responses <- r
	}()
}

func requestRange(ctx context.Context, p RangePeer, root common.Hash, need *trie.Need, most uint64) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	if need.Kind == trie.NeedAccounts {
		k, v, proof, err := p.AccountLeaves(ctx, root, need.Origin, need.Limit, most)
		return [][]common.Hash{k}, [][][]byte{v}, proof, err
	}
	if need.Kind == trie.NeedSlots {
		return p.StorageLeaves(ctx, root, []common.Hash{need.Refs[0].Owner}, need.Origin, need.Limit, most)
	}
	accounts := make([]common.Hash, len(need.Refs))
	for i, ref := range need.Refs {
		accounts[i] = ref.Owner
	}
	return p.StorageLeaves(ctx, root, accounts, common.Hash{}, common.MaxHash, most)
}

func sizeOf(keys [][]common.Hash, values [][][]byte, proof [][]byte) (n int) {
	for i := range keys {
		n += len(keys[i]) * common.HashLength
		for _, value := range values[i] {
			n += len(value)
		}
	}
	for _, blob := range proof {
		n += len(blob)
	}
	return n
}

// verify verifies responses, as many at once as there are processors. While the backfill yields, it is one at most, of
// a peer that may be asked meanwhile; swarm peers may not.
func (w *walk) verify() {
	most, yields := runtime.GOMAXPROCS(0), w.yields(time.Now())
	if yields {
		most = 1
	}
	for w.verifying < most && len(w.unverified) > 0 {
		next := slices.IndexFunc(w.unverified, func(r *response) bool {
			return !yields || r.peer != nil && w.b.peers.hasBackgroundWindow(r.peer)
		})
		if next < 0 {
			return
		}
		r := w.unverified[next]
		w.unverified = slices.Delete(w.unverified, next, next+1)
		w.verifying++
		w.requests.Add(1)
		go func() {
			defer w.requests.Done()
			r.delivery, r.err = r.need.Match(r.keys, r.values, r.proof)
			r.verified, r.keys, r.values, r.proof = true, nil, nil, nil
			w.responses <- r
		}()
	}
}

// handle handles a response.
func (w *walk) handle(ctx context.Context, r *response) error {
	if r.err == nil {
		w.lastProgress = time.Now()
	}
	switch {
	case r.byHash:
		return w.handleNodeData(ctx, r)
	case r.swarmPeer != nil:
		return w.handleSwarm(ctx, r)
	case r.peer != nil:
		return w.handleRange(ctx, r)
	}
	w.lookups--
	switch {
	case r.err == nil:
		return w.walker.Found(r.need)
	case ctx.Err() == nil:
		return r.err
	}
	w.walker.Return(r.need)
	return nil
}

// handleRange handles the response to a request for a range: first as it was received, then verified.
func (w *walk) handleRange(ctx context.Context, r *response) error {
	if r.verified {
		w.verifying--
	} else {
		w.received(r)
		if r.err == nil {
			w.unverified, r.task.arrived = append(w.unverified, r), true
			return nil
		}
	}
	r.task.open--
	r.task.arrived = false
	result, err := w.classify(ctx, r)
	w.b.metrics.requests.WithLabelValues(r.need.Kind.String(), result).Inc()
	if err != nil {
		return err
	}
	w.b.log.Debug("Range response", "peer", r.peer.ID(), "kind", r.need.Kind.String(), "result", result, "refs", len(r.need.Refs),
		"origin", r.need.Origin, "bytes", r.bytes, "took", r.took.Round(time.Millisecond), "err", r.err)
	switch result {
	case peer.ResultUnproved: // the peer is at fault only if it goes on: see maxUnproved
		w.fallBackToNodes()
		fallthrough
	case peer.ResultCancelled:
		w.b.peers.release(r.peer)
		w.failed(r.task)
		return nil
	}
	served := result == peer.ResultOK || result == peer.ResultPartial
	took := time.Since(r.began)
	if r.began.Before(w.lastBusy) {
		took = 0 // a block may have delayed it
	}
	w.b.peers.finish(r.peer, w.target.Root, r.began, took, served, result == peer.ResultEmpty)
	if !served {
		w.failed(r.task)
		w.fallBackToNodes()
		return nil
	}
	w.b.metrics.took.WithLabelValues(r.need.Kind.String()).Observe(r.took.Seconds())
	if !w.end(r.task) {
		w.discard(r)
		return nil
	}
	w.walker.ByNodes(false)
	w.sharing.patience.received(r.bytes, false)
	return w.walker.Deliver(r.need, r.delivery)
}

// received counts the bytes of a response.
func (w *walk) received(r *response) {
	w.meter.bytes += uint64(r.bytes)
	w.bucket.spend(r.bytes - r.asked)
}

// discard counts a response that is true and comes too late, or was asked for as a sample.
func (w *walk) discard(r *response) {
	w.b.metrics.discarded.Inc()
	w.b.metrics.discardedBytes.Add(float64(r.bytes))
}

// classify names the result of a request for a range, and blames the peer for what it did. The error
// is one that no peer is to blame for.
func (w *walk) classify(ctx context.Context, r *response) (result string, err error) {
	var invalid *trie.InvalidRangeError
	var unproved *trie.UnprovedRangeError
	switch {
	case r.err == nil:
	case errors.As(r.err, &unproved):
		w.b.peers.unproved(r.peer)
		return peer.ResultUnproved, nil
	case errors.As(r.err, &invalid):
		w.b.cfg.Book.Blame(r.peer.ID(), peer.BlameInvalid, fmt.Sprintf("%s: %v", r.need.Kind, invalid))
		return peer.ResultInvalid, nil
	case errors.Is(r.err, trie.ErrMalformed):
		return peer.ResultError, fmt.Errorf("%s: %w", r.need.Kind, r.err)
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		w.b.cfg.Book.TimedOut(r.peer.ID(), peer.KindRanges, r.began)
		w.b.cfg.Book.Blame(r.peer.ID(), peer.BlameTimeout, "no response to a request for "+r.need.Kind.String()+" in time")
		return peer.ResultTimeout, nil
	default:
		return peer.ResultOf(ctx, r.err), nil
	}
	switch r.delivered() {
	case 0:
		return peer.ResultEmpty, nil
	case len(r.delivery.Pieces):
		return peer.ResultOK, nil
	}
	return peer.ResultPartial, nil
}

// fallBackToNodes goes node by node for a while when no peer seems to serve ranges.
func (w *walk) fallBackToNodes() {
	if all, _, useless := w.b.peers.count(w.target.Root); all > 0 && useless == all {
		w.walker.ByNodes(true)
		w.byNodesUntil = time.Now().Add(rangeRetry)
	}
}
