package beamsync

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
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

// want is what the loop knows about one want of the scheduler.
type want struct {
	target
	id         sched.WantID
	class      sched.Class
	depth      int      // longest path asked for on the way to fault.Key, nibbles
	riderDepth int      // the same for those of fault.Riders
	waiters    []waiter // never empty while the scheduler knows the want
	sends      int      // requests it was in, hedges aside
	cuts       int      // replies that lacked it and were cut
	flying     bool     // it was sent at least once
	blob       []byte   // set before its callers wake
}

// waiter is a call that waits for a want.
type waiter struct {
	call   *call
	base   int // sends before the call joined, that in flight not counted
	before int // requests in a row that the call took for the path above this node
}

// call is one caller's wait for some targets.
type call struct {
	session *Session
	targets []target
	whole   bool          // it waits for whole paths, not only for the first node of each
	hint    bool          // it waits for nothing that a peer did not have
	news    func()        // called when something came or was dropped; may be nil; must not block
	done    chan struct{} // closed when it has them

	// Of the loop until done is closed, then of the caller.
	wants  []*want
	open   int // wants that it waits for
	rounds int // requests in a row that the slowest want took
}

// tell lets the caller know that something came or was dropped.
func (c *call) tell() {
	if c.open == 0 {
		close(c.done)
	}
	if c.news != nil {
		c.news()
	}
}

// fetchLoop is the state of one Run; it belongs to the goroutine that runs it.
type fetchLoop struct {
	f        *Fetcher
	sched    *sched.Scheduler
	lastID   sched.WantID
	wants    map[sched.WantID]*want
	byKey    map[wantKey]*want // the same wants
	peers    map[string]Peer   // those that the scheduler knows
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
		peers:    make(map[string]Peer),
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
	case sched.Lie:
		delete(l.peers, a.Peer)
		l.f.blame(a.Peer, BlameLie, l.lie)
	case sched.Useless:
		l.f.blame(a.Peer, BlameUseless, "nothing under roots that others serve")
	case sched.Timeout:
		l.f.blame(a.Peer, BlameTimeout, "no reply to a state request in time")
	}
}

// take makes wants of a call's targets.
func (l *fetchLoop) take(ctx context.Context, c *call) []sched.Want {
	var added []sched.Want
	var before *want // neighbour in the batch, with which paths are shared
	for _, t := range c.targets {
		w, fresh := l.want(ctx, c, t, 0)
		if fresh {
			added = append(added, w.scheduled(before))
			before = w
		}
	}
	return added
}

// want lets a call wait for a target, together with others if they do already.
func (l *fetchLoop) want(ctx context.Context, c *call, t target, rounds int) (w *want, fresh bool) {
	class := c.session.class
	w = l.byKey[t.key()]
	if w == nil {
		l.lastID++
		w = &want{target: t, id: l.lastID, class: class, depth: l.depths.deepest(t.fault)}
		if len(t.fault.Riders) > 0 {
			w.riderDepth = l.depths.riders(t.owner())
		}
		l.wants[w.id] = w
		l.byKey[t.key()] = w
		fresh = true
	} else if class > w.class {
		w.class = class
		l.step(ctx, sched.WantRaised{ID: w.id, Class: class})
	}
	for i := range w.waiters {
		if o := &w.waiters[i]; o.call == c { // named twice in one batch
			o.before = max(o.before, rounds)
			return w, fresh
		}
	}
	base := w.sends
	if w.flying {
		base--
	}
	w.waiters = append(w.waiters, waiter{c, base, rounds})
	c.wants = append(c.wants, w)
	c.open++
	return w, fresh
}

// scheduled is the want as the scheduler sees it, queued behind its neighbour.
func (w *want) scheduled(before *want) sched.Want {
	return sched.Want{ID: w.id, Class: w.class, Kind: w.kind, Root: w.fault.Root, Cost: w.cost(before)}
}

// abandon forgets a call; wants that nobody else waits for are cancelled.
func (l *fetchLoop) abandon(ctx context.Context, c *call) {
	var cancelled sched.WantCancelled
	for _, w := range c.wants {
		if l.wants[w.id] != w {
			continue
		}
		w.waiters = slices.DeleteFunc(w.waiters, func(o waiter) bool { return o.call == c })
		if len(w.waiters) == 0 {
			l.forget(w)
			cancelled.IDs = append(cancelled.IDs, w.id)
		}
	}
	if len(cancelled.IDs) > 0 {
		l.step(ctx, cancelled)
	}
}

func (l *fetchLoop) forget(w *want) {
	delete(l.wants, w.id)
	delete(l.byKey, w.key())
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
		s.count(Stats{Requests: 1})
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
		Request: r.request, Unsatisfied: r.unsatisfied, Empty: r.result == resultEmpty && !guessed && !r.aside,
		Cut: r.cut, Lied: r.result == resultLie, Bytes: r.bytes, Items: r.items,
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

// hinted says whether wants are guesses and nothing else: a peer that has none of them is not
// without state.
func (l *fetchLoop) hinted(ids []sched.WantID) bool {
	for _, id := range ids {
		if w := l.wants[id]; w != nil && slices.ContainsFunc(w.waiters, func(o waiter) bool { return !o.call.hint }) {
			return false
		}
	}
	return true
}

// dropHints lets calls that are hints go without what a peer did not have; it returns the wants
// that nobody else waits for. If that says little, because the reply was cut or the peer
// may have nothing under that root at all, they are asked for again, but not for ever.
func (l *fetchLoop) dropHints(r *reply, stateless bool) (dropped []sched.WantID) {
	for _, id := range r.unsatisfied {
		w := l.wants[id]
		if w == nil {
			continue
		}
		cut := r.cut && r.long
		if cut {
			w.cuts++
		}
		if stateless && w.sends < hintTries || cut && w.cuts < hintSends {
			continue
		}
		w.waiters = slices.DeleteFunc(w.waiters, func(o waiter) bool {
			if !o.call.hint {
				return false
			}
			o.call.open--
			o.call.tell()
			return true
		})
		if len(w.waiters) == 0 {
			l.forget(w)
			dropped = append(dropped, w.id)
		}
	}
	return dropped
}

// satisfy wakes those who wait for a want, except that those who wait for whole paths go
// on to the next node if there is one; it returns new wants for these. A hint does not go
// on where the peer was asked for the next node and did not have it.
func (l *fetchLoop) satisfy(ctx context.Context, w *want, d delivery, r *reply) (further []sched.Want) {
	l.forget(w)
	w.blob = d.blob
	if len(w.waiters) > 0 {
		w.waiters[0].call.session.count(d.stats) // what came is counted once
	}
	for _, o := range w.waiters {
		c, rounds := o.call, o.before+w.sends-o.base
		c.rounds = max(c.rounds, rounds)
		c.open--
		lacked := c.hint && d.depth == 0 && !r.cut
		if c.whole && d.next != nil && !lacked {
			if next, fresh := l.want(ctx, c, nodeTarget(*d.next), rounds); fresh {
				further = append(further, next.scheduled(nil))
			}
		}
		for _, rider := range d.riders {
			doubtful := r.cut && r.long
			lacked := c.hint && rider.depth == 0 && !doubtful && !r.byHash
			if c.whole && rider.next != nil && !lacked {
				if next, fresh := l.want(ctx, c, nodeTarget(*rider.next), rounds); fresh {
					further = append(further, next.scheduled(nil))
				}
			}
		}
		c.tell()
	}
	w.waiters = nil
	return further
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
		"state_peers", waiting.Peers, "peers_without_root", waiting.Blocked, "peers_timing_out", waiting.Lapsed)
}
