// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// deliver handles the outcome of a wire request.
func (l *loop) deliver(ctx context.Context, r *reply) error {
	request := l.requests[r.request]
	request.cancel()
	defer delete(l.requests, r.request)
	if r.storeErr != nil {
		return r.storeErr
	}
	l.f.metrics.requests.WithLabelValues(r.kind.String(), r.result).Inc()
	if r.failed {
		if r.failure == sched.Broken && r.result != peer.ResultCancelled {
			l.f.cfg.Book.Refused(r.peer, peer.KindState, request.sent)
		}
		l.step(ctx, sched.Failed{Request: r.request, Failure: r.failure})
		return nil
	}
	if len(r.deliveries) > 0 {
		l.f.cfg.Book.Served(r.peer, peer.KindState)
	}
	l.f.metrics.bytes.WithLabelValues(r.kind.String()).Add(float64(r.bytes))
	l.f.metrics.unmatched.Add(float64(r.unmatched))
	l.f.served.Add(uint64(r.proved))
	if r.proved > 0 && l.peers[r.peer] != nil && !l.proven[r.peer] {
		l.proven[r.peer] = true
		l.f.serving.Store(int32(len(l.proven)))
	}
	if r.kind == sched.Code {
		l.f.metrics.codes.Add(float64(r.proved))
	} else {
		l.f.metrics.nodes.Add(float64(r.proved))
	}
	serves := l.serves(r)
	guessed := serves && l.onlyHints(r.unsatisfied) // and nothing was asked for that it must have
	ev := sched.Responded{
		Request: r.request, Unsatisfied: r.unsatisfied, Empty: r.result == peer.ResultEmpty && !guessed && !r.optional,
		Cut: r.cut, Invalid: r.result == peer.ResultInvalid, Bytes: r.bytes, Items: r.items,
	}
	for _, d := range r.deliveries {
		ev.Satisfied = append(ev.Satisfied, d.id)
		l.learn(d, r.byHash)
		for _, slot := range d.storage {
			l.learn(slot, r.byHash)
		}
	}
	// The scheduler gets all of it in one event, before the loop forgets the wants: its actions may name
	// any want that it knows.
	ev.Dropped = l.dropHints(r, r.kind == sched.Node && !serves)
	l.invalid = r.invalid
	l.step(ctx, ev)
	var further sched.WantAdded // what paths go on with
	for _, d := range r.deliveries {
		if w := l.wants[d.id]; w != nil {
			further.Wants = append(further.Wants, l.satisfy(ctx, w, d, r)...)
		} else {
			l.f.metrics.duplicateBytes.Add(float64(d.stats.Bytes))
		}
	}
	if len(further.Wants) > 0 {
		l.step(ctx, further)
	}
	return nil
}

// maxServedRoots is how many roots are kept that a peer served: those of the blocks that are
// prefetched in parallel, and some before.
const maxServedRoots = 64

type servedRoots = lru.BasicLRU[common.Hash, struct{}]

// serves says whether the peer has been seen to have nodes under the root of a reply.
func (l *loop) serves(r *reply) bool {
	roots := l.served[r.peer]
	if roots == nil {
		fresh := lru.NewBasicLRU[common.Hash, struct{}](maxServedRoots)
		roots = &fresh
		if l.peers[r.peer] != nil { // it may have left before its reply was taken in
			l.served[r.peer] = roots
		}
	}
	if r.kind == sched.Node && r.proved > 0 && !r.optional {
		roots.Add(r.root, struct{}{})
	}
	return roots.Contains(r.root)
}

// learn takes in how deep a path goes. A node by hash says so where the path ends only.
func (l *loop) learn(d delivery, byHash bool) {
	if !byHash || d.next == nil {
		l.depths.observe(d)
	}
}
