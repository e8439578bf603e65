package beamsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// chainDeadline is how long a peer may take for headers or bodies.
	chainDeadline = 5 * time.Second
	// chainHedge is after what time a peer never asked before counts as slow.
	chainHedge = time.Second

	// A peer that had nothing is asked again after a while that doubles.
	chainFirstBackoff = 250 * time.Millisecond
	chainMaxBackoff   = 8 * time.Second
)

var (
	// errNothing: the peer does not have what was asked for.
	errNothing = errors.New("nothing of what was asked for")
	// errLie is wrapped by errors that say what is wrong with a reply.
	errLie = errors.New("lie")
)

// askOne asks one picked peer once, puts it back, counts, and blames it for what it did.
func askOne[T any](ctx context.Context, f *Fetcher, kind string, p *chainPeer, ask func(context.Context, Peer) (T, error)) (T, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, chainDeadline)
	value, err := ask(limited, p.Peer)
	cancel()
	f.roster.put(p, time.Since(began))
	result := resultOK
	switch {
	case err == nil:
	case ctx.Err() != nil:
		result = resultCancelled
	case errors.Is(err, errLie):
		result = resultLie
		f.blame(p.ID(), BlameLie, err.Error())
	case errors.Is(err, errNothing):
		result = resultEmpty
	case errors.Is(err, context.DeadlineExceeded):
		result = resultTimeout
		f.blame(p.ID(), BlameTimeout, "no reply to a request for "+kind+" in time")
	default:
		result = resultOf(ctx, err)
	}
	f.metrics.requests.WithLabelValues(kind, result).Inc()
	return value, err
}

// asking is one question about the chain on its way from peer to peer: a slow peer is
// hedged once, one that had nothing or failed is asked again after a back-off, a liar never.
type asking[T any] struct {
	f        *Fetcher
	kind     string // label of metrics
	ask      func(context.Context, Peer) (T, error)
	backoffs map[string]chainBackoff
	answers  chan chainAnswer[T]
	flying   map[string]bool // peers being asked, two at most
	hedgeAt  time.Time       // when the first of them counts as slow

	// For the past, which nobody waits for; nil otherwise. Peers that are not able are not
	// asked, the fastest is left to others, nothing is hedged, and waiting is not spoken of.
	able   func(Peer) bool
	failed func(error) // told of every failed attempt
}

type chainBackoff struct {
	until time.Time
	count int
}

type chainAnswer[T any] struct {
	peer  string
	value T
	err   error
}

// askChain asks peers until one answers without error, or ctx ends.
func askChain[T any](ctx context.Context, f *Fetcher, kind string, ask func(context.Context, Peer) (T, error)) (T, error) {
	return newAsking(f, kind, ask).answer(ctx)
}

func newAsking[T any](f *Fetcher, kind string, ask func(context.Context, Peer) (T, error)) *asking[T] {
	return &asking[T]{
		f: f, kind: kind, ask: ask, backoffs: make(map[string]chainBackoff),
		answers: make(chan chainAnswer[T]), flying: make(map[string]bool),
	}
}

func (q *asking[T]) answer(ctx context.Context) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	value, err := q.run(ctx)
	cancel()
	for len(q.flying) > 0 { // a hedge that lost, or was lost
		delete(q.flying, (<-q.answers).peer)
	}
	return value, err
}

func (q *asking[T]) run(ctx context.Context) (none T, err error) {
	began, reported := time.Now(), time.Time{}
	timer := time.NewTimer(slowWait)
	defer timer.Stop()
	for {
		change := q.send(ctx)
		timer.Reset(q.pause())
		select {
		case a := <-q.answers:
			delete(q.flying, a.peer)
			if a.err == nil {
				return a.value, nil
			}
			q.backOff(a.peer)
			if q.failed != nil {
				q.failed(a.err)
			}
		case <-timer.C:
		case <-change:
		case <-ctx.Done():
			return none, fmt.Errorf("ask peers for %s: %w", q.kind, context.Cause(ctx))
		case <-q.f.done:
			return none, fmt.Errorf("ask peers for %s: the fetcher has stopped: %w", q.kind, trie.ErrUnavailable)
		}
		if now := time.Now(); q.able == nil && now.Sub(began) >= slowWait && now.Sub(reported) >= slowLogEvery {
			reported = now
			q.f.log.Warn("Waiting for the chain", "kind", q.kind, "waited", now.Sub(began).Round(100*time.Millisecond),
				"peers", q.f.roster.size(), "in_flight", len(q.flying), "peers_without_it", len(q.backoffs))
		}
	}
}

// send asks a peer if none is being asked, and a second one if the first is slow. The
// channel closes when there is a new peer to choose; nil if that does not matter now.
func (q *asking[T]) send(ctx context.Context) (change <-chan struct{}) {
	now := time.Now()
	if len(q.flying) > 1 || len(q.flying) == 1 && now.Before(q.hedgeAt) {
		return nil
	}
	skip := func(id string) bool { return q.flying[id] || now.Before(q.backoffs[id].until) }
	var p *chainPeer
	if q.able != nil {
		p, change = q.f.roster.pickSpare(func(p Peer) bool { return !skip(p.ID()) && q.able(p) })
	} else {
		p, change = q.f.roster.pick(skip)
	}
	if p == nil {
		return change
	}
	q.flying[p.ID()] = true
	q.hedgeAt = now.Add(q.f.roster.hedgeAfter(p))
	if q.able != nil {
		q.hedgeAt = now.Add(2 * chainDeadline) // never
	}
	go func() { // askChain waits for its answer
		value, err := askOne(ctx, q.f, q.kind, p, q.ask)
		q.answers <- chainAnswer[T]{p.ID(), value, err}
	}()
	return nil
}

// pause is how long there is nothing to do unless something happens.
func (q *asking[T]) pause() time.Duration {
	d := slowWait
	if until := time.Until(q.hedgeAt); len(q.flying) == 1 && until > 0 {
		d = min(d, until)
	}
	for _, b := range q.backoffs {
		if until := time.Until(b.until); len(q.flying) < 2 && until > 0 {
			d = min(d, until)
		}
	}
	return d
}

func (q *asking[T]) backOff(peer string) {
	b := q.backoffs[peer]
	b.count++
	b.until = time.Now().Add(min(chainFirstBackoff<<min(b.count-1, 10), chainMaxBackoff))
	q.backoffs[peer] = b
}
