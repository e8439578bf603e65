package fetch

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
)

// deliver takes the outcome of a wire request in.
func (l *fetchLoop) deliver(ctx context.Context, r *reply) error {
	if cancel := l.requests[r.request]; cancel != nil {
		cancel()
		delete(l.requests, r.request)
	}
	if r.storeErr != nil {
		return r.storeErr
	}
	l.f.metrics.requests.WithLabelValues(r.kind.String(), r.result).Inc()
	if r.failed {
		l.step(ctx, sched.Failed{Request: r.request, Failure: r.failure})
		return nil
	}
	l.f.metrics.bytes.WithLabelValues(r.kind.String()).Add(float64(r.bytes))
	l.f.metrics.unmatched.Add(float64(r.unmatched))
	if r.kind == sched.Code {
		l.f.metrics.codes.Add(float64(r.proved))
	} else {
		l.f.metrics.nodes.Add(float64(r.proved))
	}
	serves := l.serves(r)
	guessed := serves && l.hinted(r.unsatisfied) // and nothing was asked for that it must have
	ev := sched.Responded{
		Request: r.request, Unsatisfied: r.unsatisfied, Empty: r.result == peer.ResultEmpty && !guessed && !r.aside,
		Cut: r.cut, Invalid: r.result == peer.ResultLie, Bytes: r.bytes, Items: r.items,
	}
	for _, d := range r.deliveries {
		ev.Satisfied = append(ev.Satisfied, d.id)
		l.learn(d, r.byHash)
		for _, rider := range d.riders {
			l.learn(rider, r.byHash)
		}
	}
	// The scheduler is told all at once, and before the wants are forgotten here: whatever it says on
	// the way may name any want that it knows.
	ev.Dropped = l.dropHints(r, r.kind == sched.Node && !serves)
	l.lie = r.lie
	l.step(ctx, ev)
	var further sched.WantAdded // what paths go on with
	for _, d := range r.deliveries {
		if w := l.wants[d.id]; w != nil {
			further.Wants = append(further.Wants, l.satisfy(ctx, w, d, r)...)
		} else {
			l.f.metrics.twice.Add(float64(d.stats.Bytes))
		}
	}
	if len(further.Wants) > 0 {
		l.step(ctx, further)
	}
	return nil
}

// rememberedRoots is how many roots a peer is known to have: those of the blocks that are collected
// side by side, and some before.
const rememberedRoots = 64

type servedRoots = lru.BasicLRU[common.Hash, struct{}]

// serves says whether the peer has been seen to have nodes under the root of a reply.
func (l *fetchLoop) serves(r *reply) bool {
	roots := l.served[r.peer]
	if roots == nil {
		fresh := lru.NewBasicLRU[common.Hash, struct{}](rememberedRoots)
		roots = &fresh
		if l.peers[r.peer] != nil { // it may have left before its reply was taken in
			l.served[r.peer] = roots
		}
	}
	if r.kind == sched.Node && r.proved > 0 && !r.aside {
		roots.Add(r.root, struct{}{})
	}
	return roots.Contains(r.root)
}

// learn learns how deep paths go. A node by hash says so where the path ends only.
func (l *fetchLoop) learn(d delivery, byHash bool) {
	if !byHash || d.next == nil {
		l.depths.observe(d)
	}
}
