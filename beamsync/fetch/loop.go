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
	// lookAround is how often the loop looks at peers' heads and at how long wants wait.
	lookAround = time.Second
	// An urgent want older than slowWait is reported, again every slowLogEvery.
	slowWait     = 2 * time.Second
	slowLogEvery = 5 * time.Second
	// A guess is asked for hintSends times where replies that lack it were cut, and hintTries times
	// where peers had nothing at all under that root.
	hintSends = 3
	hintTries = 16
)

// fetchLoop is the state of one Run; it belongs to the goroutine that runs it.
type fetchLoop struct {
	f        *Fetcher
	sched    *sched.Scheduler
	lastID   sched.WantID
	wants    map[sched.WantID]*want
	byKey    map[wantKey]*want    // the same wants
	peers    map[string]peer.Peer // those that the scheduler knows
	requests map[sched.RequestID]context.CancelFunc
	depths   *depthGuess
	served   map[string]*servedRoots // the roots under which a peer had nodes lately
	wake     *time.Timer
	lie      string // what the lying reply in hand held
	logged   time.Time
	wires    sync.WaitGroup // the goroutines of wire requests
}

func newFetchLoop(f *Fetcher) *fetchLoop {
	return &fetchLoop{
		f:        f,
		sched:    sched.New(),
		wants:    make(map[sched.WantID]*want),
		byKey:    make(map[wantKey]*want),
		peers:    make(map[string]peer.Peer),
		requests: make(map[sched.RequestID]context.CancelFunc),
		depths:   newDepthGuess(),
		served:   make(map[string]*servedRoots),
	}
}

// run handles events until ctx ends or the local store fails.
func (l *fetchLoop) run(ctx context.Context) error {
	l.wake = time.NewTimer(time.Hour)
	l.wake.Stop()
	defer l.wake.Stop()
	look := time.NewTicker(lookAround)
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
			l.lookAround(ctx)
		}
		l.f.metrics.inflight.Set(float64(len(l.requests)))
		l.f.metrics.wants.Set(float64(len(l.wants)))
	}
}

// handle takes messages in. All new wants among them go to the scheduler first and in one
// event: they arrived together, so they travel together.
func (l *fetchLoop) handle(ctx context.Context, messages []any) error {
	var added sched.WantAdded
	for _, m := range messages {
		if c, ok := m.(*call); ok {
			added.Wants = append(added.Wants, l.take(ctx, c)...)
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
			l.peers[m.peer.ID()] = m.peer
			l.step(ctx, sched.PeerJoined{ID: m.peer.ID(), ByHash: !m.peer.ServesState()})
		case left:
			delete(l.peers, m.id)
			delete(l.served, m.id)
			l.step(ctx, sched.PeerLeft{ID: m.id})
		case *reply:
			if err := l.deliver(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// step feeds the scheduler and does what it says.
func (l *fetchLoop) step(ctx context.Context, ev sched.Event) {
	for _, action := range l.sched.Step(time.Now(), ev) {
		switch a := action.(type) {
		case sched.Send:
			l.send(ctx, a)
		case sched.Cancel:
			if cancel := l.requests[a.Request]; cancel != nil {
				cancel()
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

func (l *fetchLoop) blame(a sched.Blame) {
	switch a.Reason {
	case sched.InvalidResponse:
		delete(l.peers, a.Peer)
		l.f.blame(a.Peer, peer.BlameLie, l.lie)
	case sched.Useless:
		l.f.blame(a.Peer, peer.BlameUseless, "nothing under roots that others serve")
	case sched.Timeout:
		l.f.blame(a.Peer, peer.BlameTimeout, "no reply to a state request in time")
	}
}

// send starts one wire request.
func (l *fetchLoop) send(ctx context.Context, a sched.Send) {
	peer := l.peers[a.Peer]
	asks := make([]ask, 0, len(a.Wants))
	sessions := make(map[*Session]bool)
	for _, id := range a.Wants {
		w := l.wants[id]
		asks = append(asks, ask{id: id, target: w.target, depth: w.depth, riderDepth: w.riderDepth, again: w.flying})
		if !a.Hedge {
			w.sends++
			w.flying = true
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
	l.requests[a.Request] = cancel
	l.wires.Go(func() {
		l.f.inbox.post(exchange(ctx, peer, a, asks, l.f.cfg.Local))
	})
}

// lookAround tells the scheduler of peers' newer heads and the operator of long waits.
func (l *fetchLoop) lookAround(ctx context.Context) {
	for id, p := range l.peers {
		number, _ := p.Head()
		l.step(ctx, sched.PeerHead{ID: id, Number: number})
	}
	now := time.Now()
	waiting, ok := l.sched.Waiting(now, sched.Urgent)
	l.f.metrics.oldest.Set(waiting.Age.Seconds())
	if !ok || waiting.Age < slowWait {
		if !l.logged.IsZero() {
			l.logged = time.Time{}
			l.f.log.Info("State arrives again")
		}
		return
	}
	if now.Sub(l.logged) < slowLogEvery {
		return
	}
	l.logged = now
	w := l.wants[waiting.ID]
	l.f.log.Warn("Waiting for state", "reason", waiting.Reason(), "waited", waiting.Age.Round(100*time.Millisecond),
		"kind", w.kind.String(), "root", w.fault.Root, "owner", w.fault.Owner, "path", cmp.Or(nibbleString(w.fault.Path), "-"),
		"hash", w.hash(), "queued", waiting.Queued, "in_flight", waiting.InFlight,
		"state_peers", waiting.Peers, "peers_without_root", waiting.BackedOff, "peers_timing_out", waiting.TimingOut)
}
