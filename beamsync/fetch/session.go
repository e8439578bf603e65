// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var _ trie.Source = (*Session)(nil)

// Session is a [trie.Source] with a class, for one execution or one RPC call: it fetches
// through the [Fetcher] and counts what that took. It is safe for concurrent use.
//
// Trips counts the round trips that had to follow one another: the length of the longest
// chain of waits of this session of which each began after the one before it had ended. A
// goroutine that reads on and on counts each of its waits, also while another goroutine
// waits too; two that wait at the same time count as one. A wait in which a want had to
// be asked for n times in a row (empty, cut or lost replies; not hedges) counts as n.
type Session struct {
	f     *Fetcher
	class sched.Class
	query bool // see Query

	mu struct {
		sync.Mutex
		stats trie.FetchStats // Trips is the longest chain among the waits that have ended
		open  int             // waits that have not ended
		since time.Time       // when open left 0
	}
}

// Session returns a new session whose wants have that class.
func (f *Fetcher) Session(class sched.Class) *Session {
	return &Session{f: f, class: class}
}

// Query returns a session that does not wait for peers that may come: what no connected peer can serve
// is [trie.ErrUnavailable], after half a second in which none of them had it.
func (f *Fetcher) Query(class sched.Class) *Session {
	return &Session{f: f, class: class, query: true}
}

// Stats returns what the session took until now.
func (s *Session) Stats() trie.FetchStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.mu.stats
	if s.mu.open > 0 {
		stats.Wait += time.Since(s.mu.since)
	}
	return stats
}

// FetchNode implements [trie.Source]. It asks for the missing node and, in the same round
// trip, for what lies below it on the way to Key. It waits for peers as long as ctx
// allows, unless it is a query; otherwise [trie.ErrUnavailable] comes only from a fetcher that has stopped.
func (s *Session) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	// Another call may have brought it since the caller missed it.
	blob, err := s.f.cfg.Local.Node(fault.Owner, fault.Path, fault.Hash)
	if err != nil {
		return nil, fmt.Errorf("look up trie node: %w", err)
	}
	if blob != nil {
		return blob, nil
	}
	c := &call{targets: []target{nodeTarget(fault)}}
	if err := s.wait(ctx, c); err != nil {
		return nil, fmt.Errorf("fetch trie node %x at path %x of owner %x: %w", fault.Hash, fault.Path, fault.Owner, err)
	}
	return c.wants[0].blob, nil
}

// FetchCode implements [trie.Source], as FetchNode does.
func (s *Session) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	if hash == types.EmptyCodeHash {
		return nil, nil
	}
	code, err := s.f.cfg.Local.Code(hash)
	if err != nil {
		return nil, fmt.Errorf("look up code: %w", err)
	}
	if code != nil {
		return code, nil
	}
	c := &call{targets: []target{codeTarget(hash)}}
	if err := s.wait(ctx, c); err != nil {
		return nil, fmt.Errorf("fetch code %x: %w", hash, err)
	}
	return c.wants[0].blob, nil
}

// FetchMany requests faults and codes together, and waits
// until all of them are in the local store, the whole paths to the faults' keys, or ctx
// ends. It does not look there for the faults' own nodes first.
func (s *Session) FetchMany(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	return s.batch(ctx, call{whole: true}, faults, codes)
}

// Hint requests what may not exist: like FetchMany, but each is dropped when the first peer that was asked
// for it does not have it, so a wrong hint does not delay others. Whenever something of it is here, or was
// dropped, onProgress is called if it is not nil; it must not block.
func (s *Session) Hint(ctx context.Context, faults []trie.Fault, codes []common.Hash, onProgress func()) error {
	return s.batch(ctx, call{whole: true, hint: true, onProgress: onProgress}, faults, codes)
}

func (s *Session) batch(ctx context.Context, c call, faults []trie.Fault, codes []common.Hash) error {
	targets := make([]target, 0, len(faults)+len(codes))
	for _, fault := range faults {
		targets = append(targets, nodeTarget(fault))
	}
	// Neighbours share most of their paths: let them share requests.
	slices.SortStableFunc(targets, func(a, b target) int {
		return cmp.Or(a.fault.Root.Cmp(b.fault.Root), a.fault.Owner.Cmp(b.fault.Owner),
			bytes.Compare(a.fault.Key, b.fault.Key), bytes.Compare(a.fault.Path, b.fault.Path))
	})
	for _, hash := range codes {
		if hash != types.EmptyCodeHash {
			targets = append(targets, codeTarget(hash))
		}
	}
	if len(targets) == 0 {
		return nil
	}
	c.targets = targets
	if err := s.wait(ctx, &c); err != nil {
		return fmt.Errorf("fetch %d trie nodes and %d codes: %w", len(faults), len(codes), err)
	}
	return nil
}

// wait hands a call to the fetcher and waits until it has what it waits for. The meter of the context may refuse it.
func (s *Session) wait(ctx context.Context, c *call) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.meter = trie.MeterOf(ctx); c.meter != nil {
		if err := c.meter.Begin(); err != nil {
			return err
		}
		defer c.meter.End()
	}
	began := time.Now()
	before := s.begin(began, len(c.targets))
	if s.class == sched.Urgent {
		s.f.urgent.begin()
		defer s.f.urgent.end()
	}
	if s.class >= sched.RPC {
		s.f.waiting.Add(1)
		defer s.f.waiting.Add(-1)
	}
	c.session, c.done = s, make(chan struct{})
	s.f.inbox.post(c)
	var err error
	select {
	case <-c.done:
		err = c.err
	case <-ctx.Done():
		s.f.inbox.post(abandoned{c})
		err = context.Cause(ctx)
	case <-s.f.done:
		err = fmt.Errorf("the fetcher has stopped: %w", trie.ErrUnavailable)
	}
	rounds := 0
	if err == nil {
		rounds = max(c.rounds, 1)
	}
	s.end(before, rounds)
	s.f.metrics.wait.WithLabelValues(s.class.String()).Observe(time.Since(began).Seconds())
	return err
}

// begin opens a wait and returns the number of trips in a row before it.
func (s *Session) begin(now time.Time, faults int) (before uint64) {
	s.f.metrics.faults.WithLabelValues(s.class.String()).Add(float64(faults))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.stats.Faults += uint64(faults)
	if s.mu.open == 0 {
		s.mu.since = now
	}
	s.mu.open++
	return s.mu.stats.Trips
}

// end closes a wait that took so many rounds after so many trips.
func (s *Session) end(before uint64, rounds int) {
	s.mu.Lock()
	s.mu.open--
	if s.mu.open == 0 {
		s.mu.stats.Wait += time.Since(s.mu.since)
	}
	more := max(before+uint64(rounds), s.mu.stats.Trips) - s.mu.stats.Trips
	s.mu.stats.Trips += more
	s.mu.Unlock()
	s.f.metrics.trips.WithLabelValues(s.class.String()).Add(float64(more))
}

// count adds to the session's numbers.
func (s *Session) count(add trie.FetchStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.stats.Add(add)
}
