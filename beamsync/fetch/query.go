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
	// chainDeadline is how long a peer may take for headers or bodies.
	chainDeadline = 5 * time.Second
	// chainHedge is after what time a peer counts as slow as long as none has answered ever,
	// chainMinHedge the least time for which one does.
	chainHedge    = 500 * time.Millisecond
	chainMinHedge = 100 * time.Millisecond
	// chainRacers are asked at once as long as no peer has been of use; chainFlights is how many
	// may be asked at a time.
	chainRacers  = 3
	chainFlights = 8

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
func askOne[T any](ctx context.Context, f *Fetcher, kind string, p *chainPeer, ask func(context.Context, peer.Peer) (T, error)) (T, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, chainDeadline)
	value, err := ask(limited, p.Peer)
	cancel()
	var (
		result = peer.ResultOK
		v      = wasUseless
	)
	switch {
	case err == nil:
		v = wasUseful
	case ctx.Err() != nil:
		result, v = peer.ResultCancelled, noVerdict
	case errors.Is(err, errLie):
		result = peer.ResultLie
		f.blame(p.ID(), peer.BlameLie, err.Error())
	case errors.Is(err, errNothing):
		result = peer.ResultEmpty
		if kind == peer.KindAccessLists {
			v = noVerdict
		}
	case errors.Is(err, errors.ErrUnsupported):
		result, v = peer.ResultUnsupported, noVerdict
	case errors.Is(err, context.DeadlineExceeded):
		result = peer.ResultTimeout
		f.blame(p.ID(), peer.BlameTimeout, "no reply to a request for "+kind+" in time")
	default:
		result = peer.ResultOf(ctx, err)
	}
	f.roster.put(p, time.Since(began), v)
	f.metrics.requests.WithLabelValues(kind, result).Inc()
	return value, err
}

// asking is one question about the chain on its way from peer to peer: slow peers are hedged,
// several are asked at once while none has ever been of use; one that had nothing or failed is
// asked again after a back-off, a liar never.
type asking[T any] struct {
	f        *Fetcher
	kind     string // label of metrics
	ask      func(context.Context, peer.Peer) (T, error)
	backoffs map[string]chainBackoff
	answers  chan chainAnswer[T]
	flying   map[string]bool // peers being asked, chainFlights at most
	hedgeAt  time.Time       // when the newest of them counts as slow
	once     bool            // no peer is asked twice

	// For the past, which nobody waits for; nil otherwise. Peers that are not able are not
	// asked, the fastest is left to others, nothing is hedged, and waiting is not spoken of.
	able   func(peer.Peer) bool
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
func askChain[T any](ctx context.Context, f *Fetcher, kind string, ask func(context.Context, peer.Peer) (T, error)) (T, error) {
	return newAsking(f, kind, ask).answer(ctx)
}

func newAsking[T any](f *Fetcher, kind string, ask func(context.Context, peer.Peer) (T, error)) *asking[T] {
	return &asking[T]{
		f: f, kind: kind, ask: ask, backoffs: make(map[string]chainBackoff),
		answers: make(chan chainAnswer[T]), flying: make(map[string]bool),
	}
}

func (q *asking[T]) answer(ctx context.Context) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	value, err := q.run(ctx)
	cancel()
	for len(q.flying) > 0 { // hedges that lost, or were lost
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
		if q.once && len(q.flying) == 0 {
			return none, errNothing
		}
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

// send asks a peer if none is being asked, several if nothing is known of any, and one more
// whenever the newest is slow. The channel closes when there is a new peer to choose; nil if that
// does not matter now.
func (q *asking[T]) send(ctx context.Context) (change <-chan struct{}) {
	for q.due() {
		p, change := q.pick()
		if p == nil {
			return change
		}
		q.flying[p.ID()] = true
		q.hedgeAt = time.Now().Add(q.f.roster.hedgeAfter(p))
		go func() { // answer waits for it
			value, err := askOne(ctx, q.f, q.kind, p, q.ask)
			q.answers <- chainAnswer[T]{p.ID(), value, err}
		}()
	}
	return nil
}

// due says whether another peer is to be asked now.
func (q *asking[T]) due() bool {
	switch n := len(q.flying); {
	case n == 0:
		return true
	case q.able != nil || n >= chainFlights: // nobody waits for the past
		return false
	case n < chainRacers && q.f.roster.useful() == 0:
		return true
	}
	return !time.Now().Before(q.hedgeAt)
}

func (q *asking[T]) pick() (p *chainPeer, change <-chan struct{}) {
	now := time.Now()
	skip := func(id string) bool {
		b, failed := q.backoffs[id]
		return q.flying[id] || failed && (q.once || now.Before(b.until))
	}
	if q.able != nil {
		return q.f.roster.pickSpare(func(p peer.Peer) bool { return !skip(p.ID()) && q.able(p) })
	}
	return q.f.roster.pick(skip)
}

// pause is how long there is nothing to do unless something happens.
func (q *asking[T]) pause() time.Duration {
	d := slowWait
	if until := time.Until(q.hedgeAt); len(q.flying) > 0 && until > 0 {
		d = min(d, until)
	}
	for _, b := range q.backoffs {
		if until := time.Until(b.until); len(q.flying) < chainFlights && until > 0 {
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
