// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// chainDeadline is how long a peer may take for headers, bodies, receipts or access lists.
	chainDeadline = 5 * time.Second
	// A request is hedged after chainHedge while no peer has been useful, and never sooner than
	// after chainMinHedge.
	chainHedge    = 500 * time.Millisecond
	chainMinHedge = 100 * time.Millisecond
	// chainParallel peers are asked at once while none has been useful; a query has at most
	// chainMaxInFlight requests in flight.
	chainParallel    = 3
	chainMaxInFlight = 8
)

var (
	// errEmpty says that the peer does not have what was requested.
	errEmpty = errors.New("nothing of what was requested")
	// errInvalid is wrapped by errors that say what is wrong with a reply.
	errInvalid = errors.New("invalid reply")
)

// askOne sends one request to a picked peer, puts the peer back, and reports the result to the
// metrics and to the book.
func askOne[T any](ctx context.Context, f *Fetcher, kind string, p *chainPeer, ask func(context.Context, peer.Peer) (T, error)) (T, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, chainDeadline)
	value, err := ask(limited, p.Peer)
	cancel()
	var (
		id, book = p.ID(), f.cfg.Book
		result   = peer.ResultOK
		o        = outcomeUseless
	)
	switch {
	case err == nil:
		o = outcomeUseful
		book.Served(id, kind)
	case ctx.Err() != nil:
		result, o = peer.ResultCancelled, outcomeNone
	case errors.Is(err, errInvalid):
		result = peer.ResultInvalid
		book.Blame(id, peer.BlameInvalid, err.Error())
	case errors.Is(err, errEmpty): // that says nothing about other blocks
		result = peer.ResultEmpty
		if kind == peer.KindAccessLists {
			o = outcomeNone
		}
	case errors.Is(err, errors.ErrUnsupported):
		result, o = peer.ResultUnsupported, outcomeNone
	case errors.Is(err, context.DeadlineExceeded):
		result = peer.ResultTimeout
		book.TimedOut(id, kind, began)
		book.Blame(id, peer.BlameTimeout, "no reply to a request for "+kind+" in time")
	default:
		result = peer.ResultOf(ctx, err)
		book.Refused(id, kind, began)
	}
	f.peers.put(p, time.Since(began), o)
	f.metrics.requests.WithLabelValues(kind, result).Inc()
	return value, err
}

// query is one question about the chain, sent to peers until one answers. Slow requests are
// hedged, and several peers are asked at once while none has ever been useful. A peer that had
// nothing or failed is asked again after a back-off, one that sent invalid data never.
type query[T any] struct {
	f        *Fetcher
	kind     string // of the requests: label of metrics, key in the book
	ask      func(context.Context, peer.Peer) (T, error)
	backoffs map[string]*peer.Backoff // of peers that had nothing, or failed, in this query
	replies  chan chainReply[T]
	inFlight map[string]bool // peers with a request, at most chainMaxInFlight
	hedgeAt  time.Time       // when the newest request counts as slow
	noRetry  bool            // no peer is asked twice

	// For old blocks, which no caller waits for; nil otherwise. Only eligible peers are asked, the
	// fastest one is left to others, only requests to peers that were never useful are hedged, and waiting is not logged.
	eligible  func(peer.Peer) bool
	onFailure func(error) // called after every request that failed
}

type chainReply[T any] struct {
	peer  string
	sent  time.Time
	value T
	err   error
}

// queryChain asks peers until one answers without error, or ctx ends.
func queryChain[T any](ctx context.Context, f *Fetcher, kind string, ask func(context.Context, peer.Peer) (T, error)) (T, error) {
	return newQuery(f, kind, ask).await(ctx)
}

func newQuery[T any](f *Fetcher, kind string, ask func(context.Context, peer.Peer) (T, error)) *query[T] {
	return &query[T]{
		f: f, kind: kind, ask: ask, backoffs: make(map[string]*peer.Backoff),
		replies: make(chan chainReply[T]), inFlight: make(map[string]bool),
	}
}

// await runs the query and returns when all of its requests have ended.
func (q *query[T]) await(ctx context.Context) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	value, err := q.run(ctx)
	cancel()
	for len(q.inFlight) > 0 {
		delete(q.inFlight, (<-q.replies).peer)
	}
	return value, err
}

func (q *query[T]) run(ctx context.Context) (none T, err error) {
	began := time.Now()
	defer q.f.waits.enter(q.kind)()
	timer := time.NewTimer(slowWait)
	defer timer.Stop()
	for {
		change := q.send(ctx)
		if q.noRetry && len(q.inFlight) == 0 {
			return none, errEmpty
		}
		timer.Reset(q.pause())
		select {
		case a := <-q.replies:
			delete(q.inFlight, a.peer)
			if a.err == nil {
				q.f.waits.answered(q.kind)
				return a.value, nil
			}
			q.backOff(a.peer, a.sent)
			if q.onFailure != nil {
				q.onFailure(a.err)
			}
		case <-timer.C:
		case <-change:
		case <-ctx.Done():
			return none, fmt.Errorf("ask peers for %s: %w", q.kind, context.Cause(ctx))
		case <-q.f.done:
			return none, fmt.Errorf("ask peers for %s: the fetcher has stopped: %w", q.kind, trie.ErrUnavailable)
		}
		if q.eligible == nil {
			q.logWait(began)
		}
	}
}

// logWait says what the query waits for, in the name of all queries of its kind.
func (q *query[T]) logWait(began time.Time) {
	now := time.Now()
	if now.Sub(began) < slowWait {
		return
	}
	if queries, due := q.f.waits.due(q.kind, now); due {
		reason := "peers do not answer, or do not have it"
		if q.f.peers.size() == 0 {
			reason = "no peers"
		}
		q.f.log.Warn("Waiting for chain data", "reason", reason, "kind", q.kind, "queries", queries, "waited", now.Sub(began).Round(100*time.Millisecond),
			"peers", q.f.peers.size(), "in_flight", len(q.inFlight), "peers_without_it", len(q.backoffs))
	}
}

// send asks a peer if no request is in flight, several if no peer is known to be useful, and one
// more whenever the newest request is slow. The channel closes when a new peer can be chosen; it
// is nil if that does not matter now.
func (q *query[T]) send(ctx context.Context) (change <-chan struct{}) {
	for q.due() {
		p, change := q.pick()
		if p == nil {
			return change
		}
		now := time.Now()
		q.inFlight[p.ID()] = true
		delay := chainHedge // for old blocks time enough for an honest peer far away to become a useful one
		if q.eligible == nil {
			delay = q.f.peers.hedgeDelay(p)
		}
		q.hedgeAt = now.Add(delay)
		go func() { // await waits for it
			value, err := askOne(ctx, q.f, q.kind, p, q.ask)
			q.replies <- chainReply[T]{p.ID(), now, value, err}
		}()
	}
	return nil
}

// due says whether another peer is to be asked now.
func (q *query[T]) due() bool {
	switch n := len(q.inFlight); {
	case n == 0:
		return true
	case n >= chainMaxInFlight, q.eligible != nil && q.f.peers.anyUseful(q.inFlight): // no caller waits for old blocks
		return false
	case q.eligible == nil && n < chainParallel && q.f.peers.bestRTT() == 0:
		return true
	}
	return !time.Now().Before(q.hedgeAt)
}

func (q *query[T]) pick() (p *chainPeer, change <-chan struct{}) {
	now := time.Now()
	free := func(p peer.Peer) bool {
		b := q.backoffs[p.ID()]
		return !q.inFlight[p.ID()] && (b == nil || !q.noRetry && !now.Before(b.Until()))
	}
	if q.eligible != nil {
		return q.f.peers.pickSpare(q.kind, len(q.inFlight) == 0, func(p peer.Peer) bool { return free(p) && q.eligible(p) })
	}
	return q.f.peers.pick(q.kind, free)
}

// pause is how long there is nothing to do unless something happens.
func (q *query[T]) pause() time.Duration {
	d := slowWait
	if until := time.Until(q.hedgeAt); len(q.inFlight) > 0 && until > 0 {
		d = min(d, until)
	}
	if len(q.inFlight) >= chainMaxInFlight {
		return d
	}
	for _, b := range q.backoffs {
		if until := time.Until(b.Until()); until > 0 {
			d = min(d, until)
		}
	}
	if at := q.f.peers.nextRetry(q.kind); q.eligible != nil && !at.IsZero() {
		d = min(d, time.Until(at))
	}
	return d
}

func (q *query[T]) backOff(id string, sent time.Time) {
	b := q.backoffs[id]
	if b == nil {
		b = new(peer.Backoff)
		q.backoffs[id] = b
	}
	b.Fail(time.Now(), sent)
}
