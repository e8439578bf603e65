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

// rangeResult is how a need went. peer is nil for nodes and codes that StateSource brings. A range
// comes twice: as it was received, and verified.
type rangeResult struct {
	need     *trie.Need
	peer     *rangePeer
	fellow   *fellow // who was asked instead of a peer; nil: nobody
	codes    int     // that it sent
	keys     [][]common.Hash
	values   [][][]byte
	proof    [][]byte
	verified bool
	delivery *trie.Delivery
	bytes    int
	began    time.Time
	took     time.Duration // to the reply
	err      error

	data  bool                   // it was asked for by hash
	nodes map[common.Hash][]byte // what came, verified
}

// ask asks a peer for a range.
func (w *walk) ask(ctx context.Context, peer *rangePeer, need *trie.Need) {
	w.b.peers.take(peer)
	w.bucket.spend(rangeBytes)
	w.wires.Add(1)
	go func() {
		defer w.wires.Done()
		r := &rangeResult{need: need, peer: peer, began: time.Now()}
		limited, cancel := context.WithTimeout(ctx, rangeDeadline)
		r.keys, r.values, r.proof, r.err = askRange(limited, peer, w.target.Root, need)
		cancel()
		r.took, r.bytes = time.Since(r.began), sizeOf(r.keys, r.values, r.proof)
		w.results <- r
	}()
}

// prove verifies replies, as many at once as there are processors. While it yields, it is one at most, of
// a peer that is asked on; fellows are not.
func (w *walk) prove() {
	most, yields := runtime.GOMAXPROCS(0), w.yields(time.Now())
	if yields {
		most = 1
	}
	for w.proving < most && len(w.unproved) > 0 {
		next := slices.IndexFunc(w.unproved, func(r *rangeResult) bool { return !yields || r.peer != nil && w.b.peers.spares(r.peer) })
		if next < 0 {
			return
		}
		r := w.unproved[next]
		w.unproved = slices.Delete(w.unproved, next, next+1)
		w.proving++
		w.wires.Add(1)
		go func() {
			defer w.wires.Done()
			r.delivery, r.err = r.need.Match(r.keys, r.values, r.proof)
			r.verified, r.keys, r.values, r.proof = true, nil, nil, nil
			w.results <- r
		}()
	}
}

func askRange(ctx context.Context, peer RangePeer, root common.Hash, need *trie.Need) (keys [][]common.Hash, values [][][]byte, proof [][]byte, err error) {
	if need.Kind == trie.NeedAccounts {
		k, v, proof, err := peer.AccountLeaves(ctx, root, need.Origin, need.Limit, rangeBytes)
		return [][]common.Hash{k}, [][][]byte{v}, proof, err
	}
	if need.Kind == trie.NeedSlots {
		return peer.StorageLeaves(ctx, root, []common.Hash{need.Refs[0].Owner}, need.Origin, need.Limit, rangeBytes)
	}
	accounts := make([]common.Hash, len(need.Refs))
	for i, want := range need.Refs {
		accounts[i] = want.Owner
	}
	return peer.StorageLeaves(ctx, root, accounts, common.Hash{}, common.MaxHash, rangeBytes)
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

// take handles how a need went.
func (w *walk) take(ctx context.Context, r *rangeResult) error {
	if r.err == nil {
		w.moved = time.Now()
	}
	if r.data {
		return w.takeData(ctx, r)
	}
	if r.fellow != nil {
		return w.takeShared(ctx, r)
	}
	if r.peer == nil {
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
	if r.verified {
		w.proving--
	} else {
		w.meter.bytes += uint64(r.bytes)
		w.bucket.spend(r.bytes - rangeBytes)
		if r.err == nil {
			w.unproved = append(w.unproved, r)
			return nil
		}
	}
	result, err := w.judge(ctx, r)
	w.b.metrics.requests.WithLabelValues(r.need.Kind.String(), result).Inc()
	if err != nil {
		return err
	}
	w.b.log.Debug("Range answered", "peer", r.peer.ID(), "kind", r.need.Kind.String(), "result", result, "wants", len(r.need.Refs),
		"origin", r.need.Origin, "bytes", r.bytes, "took", r.took.Round(time.Millisecond), "err", r.err)
	if result == peer.ResultCancelled {
		w.b.peers.release(r.peer)
		w.walker.Return(r.need)
		return nil
	}
	served := result == peer.ResultOK || result == peer.ResultPartial
	took := time.Since(r.began)
	if r.began.Before(w.yielded) {
		took = 0 // it says nothing
	}
	w.b.peers.put(r.peer, w.target.Root, took, served, result == peer.ResultEmpty)
	if !served {
		w.walker.Return(r.need)
		w.fallBack()
		return nil
	}
	w.walker.ByNodes(false)
	w.b.metrics.took.WithLabelValues(r.need.Kind.String()).Observe(r.took.Seconds())
	return w.walker.Deliver(r.need, r.delivery)
}

// judge says how a request for a range ended, and blames the peer for what it did. The error
// is one that no peer is to blame for.
func (w *walk) judge(ctx context.Context, r *rangeResult) (result string, err error) {
	var lie *trie.InvalidRangeError
	switch {
	case r.err == nil:
	case errors.As(r.err, &lie):
		if w.b.peers.expel(r.peer.ID()) {
			w.b.log.Warn("Peer lied", "peer", r.peer.ID(), "kind", r.need.Kind.String(), "detail", lie.Detail)
			w.b.blame(r.peer.ID(), peer.BlameLie, lie.Error())
		}
		return peer.ResultLie, nil
	case errors.Is(r.err, trie.ErrMalformed):
		return peer.ResultError, fmt.Errorf("%s: %w", r.need.Kind, r.err)
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		w.b.blame(r.peer.ID(), peer.BlameTimeout, "no reply to a request for "+r.need.Kind.String()+" in time")
		return peer.ResultTimeout, nil
	default:
		return peer.ResultOf(ctx, r.err), nil
	}
	proved := 0
	for _, piece := range r.delivery.Pieces {
		if piece != nil {
			proved++
		}
	}
	switch proved {
	case 0:
		return peer.ResultEmpty, nil
	case len(r.delivery.Pieces):
		return peer.ResultOK, nil
	}
	return peer.ResultPartial, nil
}

// fallBack goes node by node for a while when no peer seems to serve ranges.
func (w *walk) fallBack() {
	if all, _, useless := w.b.peers.census(w.target.Root); all > 0 && useless == all {
		w.walker.ByNodes(true)
		w.byNodes = time.Now().Add(rangeRetry)
	}
}
