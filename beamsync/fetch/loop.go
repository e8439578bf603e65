// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// checkInterval is how often the loop checks peers' heads and how long wants wait.
	checkInterval = time.Second
	// An urgent want older than slowWait is reported, again after slowLogEvery, and then less and less often.
	slowWait     = 2 * time.Second
	slowLogEvery = 5 * time.Second
	// quietLimit is the longest time between two lines of what waits: the times between double up to it.
	quietLimit = 5 * time.Minute
	// A hint is requested hintSends times if replies that lack it were cut, and hintTries times if
	// peers had nothing at all under that root.
	hintSends = 3
	hintTries = 16
)

// loop is the state of one Run; it belongs to the goroutine that runs it.
type loop struct {
	f        *Fetcher
	sched    *sched.Scheduler
	lastID   sched.WantID
	wants    map[sched.WantID]*want
	byKey    map[wantKey]*want                // the same wants
	peers    map[string]peer.Peer             // those that the scheduler knows
	requests map[sched.RequestID]stateRequest // until their outcome is handled
	depths   *depthGuess
	served   map[string]*servedRoots // the roots under which a peer had nodes lately
	proven   map[string]bool         // connected peers that sent something true
	wake     *time.Timer
	invalid  string         // what is wrong with the reply being handled; empty: nothing
	logged   time.Time      // when what waits was logged last
	quiet    time.Duration  // until it is logged again
	wires    sync.WaitGroup // the goroutines of wire requests
}

// stateRequest is a wire request for state.
type stateRequest struct {
	peer   string
	sent   time.Time
	cancel context.CancelFunc
}

func newLoop(f *Fetcher) *loop {
	return &loop{
		f:        f,
		sched:    sched.New(),
		wants:    make(map[sched.WantID]*want),
		byKey:    make(map[wantKey]*want),
		peers:    make(map[string]peer.Peer),
		requests: make(map[sched.RequestID]stateRequest),
		depths:   newDepthGuess(),
		served:   make(map[string]*servedRoots),
		proven:   make(map[string]bool),
	}
}

// run handles events until ctx ends or the local store fails.
func (l *loop) run(ctx context.Context) error {
	l.wake = time.NewTimer(time.Hour)
	l.wake.Stop()
	defer l.wake.Stop()
	look := time.NewTicker(checkInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.f.inbox.ready:
			if err := l.handle(ctx, l.f.inbox.drain()); err != nil {
				return err
			}
		case <-l.wake.C:
			l.step(ctx, sched.Tick{})
		case <-look.C:
			l.checkPeersAndWaits(ctx)
		}
		l.giveUp(ctx)
		l.f.metrics.inflight.Set(float64(len(l.requests)))
		l.f.metrics.wants.Set(float64(len(l.wants)))
	}
}

// handle takes messages in. All new wants among them go to the scheduler first and in one
// event: they arrived together, so they share requests.
func (l *loop) handle(ctx context.Context, messages []any) error {
	var added sched.WantAdded
	for _, m := range messages {
		if c, ok := m.(*call); ok {
			added.Wants = append(added.Wants, l.addWants(ctx, c)...)
		}
	}
	if len(added.Wants) > 0 {
		l.step(ctx, added)
	}
	for _, m := range messages {
		switch m := m.(type) {
		case abandoned:
			l.abandon(ctx, m.call)
		case joined:
			if l.f.cfg.Book.Banned(m.peer.ID()) { // since it joined
				continue
			}
			l.peers[m.peer.ID()] = m.peer
			l.step(ctx, sched.PeerJoined{ID: m.peer.ID(), ByHash: !m.peer.ServesState()})
		case left:
			delete(l.peers, m.id)
			delete(l.served, m.id)
			delete(l.proven, m.id)
			l.f.serving.Store(int32(len(l.proven)))
			l.step(ctx, sched.PeerLeft{ID: m.id})
		case *reply:
			if err := l.deliver(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// step reports an event to the scheduler and carries out its actions.
func (l *loop) step(ctx context.Context, ev sched.Event) {
	for _, action := range l.sched.Step(time.Now(), ev) {
		switch a := action.(type) {
		case sched.Send:
			l.send(ctx, a)
		case sched.Cancel:
			if r, ok := l.requests[a.Request]; ok {
				r.cancel()
			}
		case sched.Blame:
			l.blame(a)
		case sched.WakeAt:
			if a.Time.IsZero() {
				l.wake.Stop()
			} else {
				l.wake.Reset(time.Until(a.Time))
			}
		}
	}
}

// blame reports to the book what the scheduler found out about a peer.
func (l *loop) blame(a sched.Blame) {
	book := l.f.cfg.Book
	switch a.Reason {
	case sched.InvalidResponse:
		delete(l.peers, a.Peer)
		book.Blame(a.Peer, peer.BlameInvalid, l.invalid)
	case sched.Useless:
		book.Blame(a.Peer, peer.BlameUseless, "nothing under roots that others serve")
	case sched.Timeout:
		book.TimedOut(a.Peer, peer.KindState, l.oldestSent(a.Peer))
		book.Blame(a.Peer, peer.BlameTimeout, "no reply to a state request in time")
	}
}

// oldestSent is when the oldest request was sent that is in flight to a peer.
func (l *loop) oldestSent(id string) (oldest time.Time) {
	for _, r := range l.requests {
		if r.peer == id && (oldest.IsZero() || r.sent.Before(oldest)) {
			oldest = r.sent
		}
	}
	return oldest
}

// send starts one wire request.
func (l *loop) send(ctx context.Context, a sched.Send) {
	peer := l.peers[a.Peer]
	wants := make([]wireWant, 0, len(a.Wants))
	sessions := make(map[*Session]bool)
	for _, id := range a.Wants {
		w := l.wants[id]
		wants = append(wants, wireWant{id: id, target: w.target, depth: w.depth, storageKeyDepth: w.storageKeyDepth, again: w.inFlight})
		if !a.Hedge {
			w.sends++
			w.inFlight = true
		}
		for _, o := range w.waiters {
			sessions[o.call.session] = true
		}
	}
	for s := range sessions {
		s.count(trie.FetchStats{Requests: 1})
	}
	if a.Hedge {
		l.f.metrics.hedges.Inc()
	}
	ctx, cancel := context.WithCancel(ctx)
	l.requests[a.Request] = stateRequest{a.Peer, time.Now(), cancel}
	l.wires.Go(func() {
		l.f.inbox.post(exchange(ctx, peer, a, wants, l.f.cfg.Local))
	})
}

// checkPeersAndWaits tells the scheduler about peers' newer heads and logs long waits.
func (l *loop) checkPeersAndWaits(ctx context.Context) {
	for id, p := range l.peers {
		number, _ := p.Head()
		l.step(ctx, sched.PeerHead{ID: id, Number: number})
	}
	now := time.Now()
	l.f.pulse.Store(now.UnixNano())
	waiting, ok := l.sched.Waiting(now, sched.Urgent)
	l.f.metrics.oldest.Set(waiting.Age.Seconds())
	if !ok || waiting.Age < slowWait {
		if !l.logged.IsZero() {
			l.logged, l.quiet = time.Time{}, 0
			l.f.log.Info("State requests are answered again")
		}
		return
	}
	if now.Sub(l.logged) < l.quiet {
		return
	}
	l.logged, l.quiet = now, longer(l.quiet)
	w := l.wants[waiting.ID]
	l.f.log.Warn("Waiting for state", "reason", waiting.Reason(), "waited", waiting.Age.Round(100*time.Millisecond),
		"kind", w.kind.String(), "root", w.fault.Root, "owner", w.fault.Owner, "path", cmp.Or(nibbleString(w.fault.Path), "-"),
		"hash", w.hash(), "queued", waiting.Queued, "in_flight", waiting.InFlight,
		"state_peers", waiting.Peers, "peers_without_root", waiting.BackedOff, "peers_timing_out", waiting.TimingOut)
}
