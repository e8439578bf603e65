package beamsync

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// walk is one walk of the backfill. Everything but the requests is on Run's goroutine.
type walk struct {
	b       *Backfill
	target  Target
	meter   *meter
	walker  *trie.Walker
	writer  trie.SolidWriter
	bucket  *bucket
	results chan *rangeResult
	wires   sync.WaitGroup
	sharing sharing

	unproved []*rangeResult // replies that nobody has verified, the first one first
	proving  int            // replies that are being verified
	yielding time.Time      // since when more important things are in work; zero: they are not
	yielded  time.Time      // when they were last
	byNodes  time.Time      // until when no ranges are asked for, because nobody serves them
	alone    time.Time      // since when there is no peer that may serve ranges; zero: there is one
	lookups  int            // calls of StateSource in flight
	moved    time.Time      // when something came last, or the first lookup in flight was made
	waiting  string         // why nothing was asked for, last time
	wake     *time.Timer
}

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

// walk completes a target, or ends without an error when the target is outdated or ctx ends.
func (b *Backfill) walk(ctx context.Context, target Target, meter *meter) (complete bool, err error) {
	meter.begin()
	w := &walk{
		b: b, target: target, meter: meter, writer: b.cfg.Writer(), bucket: newBucket(b.cfg.Rate),
		results: make(chan *rangeResult, 2*maxRanges+maxLookupCalls+2*maxShared), sharing: sharing{taken: make(map[trie.Part]bool)},
	}
	w.walker = trie.NewWalker(trie.WalkerConfig{
		Root: target.Root, Seed: target.Seed, Solid: b.cfg.Solid, Writer: w.writer, Local: b.cfg.Local,
	})
	b.log.Info("Collecting the state", "root", target.Root, "number", target.Number, "seed", target.Seed, "walk", meter.walks)
	ctx, cancel := context.WithCancel(ctx)
	err = w.run(ctx)
	cancel()
	w.wires.Wait()
	for len(w.results) > 0 {
		w.unproved = append(w.unproved, <-w.results)
	}
	for _, r := range w.unproved {
		switch {
		case r.data:
			b.data.release(r.peer)
		case r.peer != nil:
			b.peers.release(r.peer)
		case r.fellow != nil:
			b.swarm.release(r.fellow)
		}
	}
	meter.end(w.walker.Progress())
	if err != nil {
		return false, err
	}
	return w.walker.Done(), w.writer.Flush()
}

func (w *walk) run(ctx context.Context) error {
	w.wake = time.NewTimer(0)
	defer w.wake.Stop()
	tick := time.NewTicker(backfillTick)
	defer tick.Stop()
	w.publish()
	if !w.meet(ctx) {
		return nil
	}
	w.choose()
	w.divide()
	for !w.walker.Done() {
		w.prove()
		more, err := w.dispatch(ctx)
		if err != nil {
			return err
		}
		if !w.yields(time.Now()) {
			w.askFellows(ctx)
		}
		if more { // there is local work: look at the rest without waiting
			w.wake.Reset(0)
		}
		select {
		case <-ctx.Done():
			w.publish()
			return nil
		case r := <-w.results:
			err = w.take(ctx, r)
		case <-w.b.peers.change:
			w.choose()
		case <-w.b.data.change:
			w.choose()
		case <-w.b.swarm.change:
			w.divide()
		case <-w.wake.C:
		case now := <-tick.C:
			if w.alone.IsZero() && now.After(w.byNodes) {
				w.walker.ByNodes(w.onlyData()) // try again
			}
			w.publish()
			if err = w.writer.Flush(); err == nil && w.outdated() {
				return nil
			}
			if err == nil {
				w.share()
			}
		}
		if err != nil {
			return err
		}
	}
	w.waiting = ""
	w.publish()
	return nil
}

// yields says whether to leave network and processors to something more important, as far as it
// takes up peers' time: see rangePeer.aside. Where that never ends, every few seconds there is a turn for the backfill nevertheless: once the state is complete,
// blocks do not wait for the network any more.
func (w *walk) yields(now time.Time) bool {
	if !w.b.cfg.Busy() {
		w.yielding = time.Time{}
		return false
	}
	if w.yielding.IsZero() {
		w.yielding = now
	}
	w.yielded = now
	return now.Sub(w.yielding)%(maxYield+backfillTurn) < maxYield
}

// dispatch asks for what may be asked for now. more says that there is local work left.
func (w *walk) dispatch(ctx context.Context) (more bool, err error) {
	for {
		w.waiting = ""
		now := time.Now()
		yields := w.yields(now)
		peer, again := w.b.peers.free(now, yields)
		if yields && peer == nil {
			w.waiting = "for a block in work"
			w.wake.Reset(backfillPoll)
			return false, nil
		}
		if wait := w.bucket.wait(now); wait > 0 && peer != nil {
			w.waiting, peer, again = "for the rate limit", nil, now.Add(wait)
		}
		if !again.IsZero() {
			w.wake.Reset(max(again.Sub(now), time.Millisecond))
		}
		data, later := w.freeData(now)
		if !later.IsZero() && (again.IsZero() || later.Before(again)) {
			w.wake.Reset(max(later.Sub(now), time.Millisecond))
		}
		lookups := w.lookups < maxLookupCalls && (w.alone.IsZero() || now.Sub(w.alone) > rangeRetry)
		if w.onlyData() { // nodes go to these only, what else there is takes the long way
			lookups = w.lookups < maxLookupCalls && data != nil
		}
		lookups = lookups && !yields
		if peer == nil && !lookups && w.alone.IsZero() && w.sharing.division == nil {
			return false, nil
		}
		need, more, err := w.walker.Next(peer != nil, lookups)
		switch {
		case err != nil:
			return false, err
		case need == nil:
			return w.excuse(peer, now) || more, nil
		case need.Kind == trie.NeedNodes && data != nil:
			w.askData(ctx, data, need)
		case need.Kind == trie.NeedNodes || need.Kind == trie.NeedCodes:
			w.lookUp(ctx, need)
		default:
			w.ask(ctx, peer, need)
		}
	}
}

// excuse finds out why nothing is asked for although nothing is in flight. Without peers that serve
// ranges, it goes node by node, and says so once: that finds what is held locally, the whole state perhaps.
// Others are asked for nodes if that lasts.
func (w *walk) excuse(peer *rangePeer, now time.Time) (again bool) {
	if w.waiting != "" || peer != nil || w.walker.Progress().Out > 0 {
		return false
	}
	switch all, empty, _ := w.b.peers.census(w.target.Root); {
	case all == 0 && w.onlyData():
		w.waiting = "for a peer that has the state"
	case all == 0:
		w.waiting = "for peers"
		if w.alone.IsZero() {
			w.walker.ByNodes(true)
			w.alone = now
			return true
		}
	case empty == all:
		w.waiting = "for a peer that has the state"
	default:
		w.waiting = "for peers that failed to be asked again"
	}
	return false
}

// lookUp fetches nodes or codes into the local store.
func (w *walk) lookUp(ctx context.Context, need *trie.Need) {
	if w.lookups == 0 {
		w.moved = time.Now()
	}
	w.lookups++
	faults := make([]trie.Fault, len(need.Wants))
	for i, want := range need.Wants {
		faults[i] = trie.Fault{Root: w.target.Root, Owner: want.Owner, Path: want.Path, Hash: want.Hash}
	}
	w.wires.Add(1)
	go func() {
		defer w.wires.Done()
		err := w.b.cfg.Source.FetchMany(ctx, faults, need.Codes)
		w.results <- &rangeResult{need: need, err: err}
	}()
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
		return peer.StorageLeaves(ctx, root, []common.Hash{need.Wants[0].Owner}, need.Origin, need.Limit, rangeBytes)
	}
	accounts := make([]common.Hash, len(need.Wants))
	for i, want := range need.Wants {
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
	w.b.log.Debug("Range answered", "peer", r.peer.ID(), "kind", r.need.Kind.String(), "result", result, "wants", len(r.need.Wants),
		"origin", r.need.Origin, "bytes", r.bytes, "took", r.took.Round(time.Millisecond), "err", r.err)
	if result == resultCancelled {
		w.b.peers.release(r.peer)
		w.walker.Return(r.need)
		return nil
	}
	served := result == resultOK || result == resultPartial
	took := time.Since(r.began)
	if r.began.Before(w.yielded) {
		took = 0 // it says nothing
	}
	w.b.peers.put(r.peer, w.target.Root, took, served, result == resultEmpty)
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
	var lie *trie.Lie
	switch {
	case r.err == nil:
	case errors.As(r.err, &lie):
		if w.b.peers.expel(r.peer.ID()) {
			w.b.log.Warn("Peer lied", "peer", r.peer.ID(), "kind", r.need.Kind.String(), "detail", lie.Detail)
			w.b.blame(r.peer.ID(), BlameLie, lie.Error())
		}
		return resultLie, nil
	case errors.Is(r.err, trie.ErrMalformed):
		return resultError, fmt.Errorf("%s: %w", r.need.Kind, r.err)
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		w.b.blame(r.peer.ID(), BlameTimeout, "no reply to a request for "+r.need.Kind.String()+" in time")
		return resultTimeout, nil
	default:
		return resultOf(ctx, r.err), nil
	}
	proved := 0
	for _, piece := range r.delivery.Pieces {
		if piece != nil {
			proved++
		}
	}
	switch proved {
	case 0:
		return resultEmpty, nil
	case len(r.delivery.Pieces):
		return resultOK, nil
	}
	return resultPartial, nil
}

func (b *Backfill) blame(peer string, reason Blame, detail string) {
	if b.cfg.Blamer != nil {
		b.cfg.Blamer.Blame(peer, reason, detail)
	}
}

// fallBack goes node by node for a while when no peer seems to serve ranges.
func (w *walk) fallBack() {
	if all, _, useless := w.b.peers.census(w.target.Root); all > 0 && useless == all {
		w.walker.ByNodes(true)
		w.byNodes = time.Now().Add(rangeRetry)
	}
}

// outdated says whether to begin anew: in time with the specification, or because no
// peer has this state any longer.
func (w *walk) outdated() bool {
	recent, ok := w.b.cfg.Recent()
	if !ok || recent.Root == w.target.Root {
		return false
	}
	all, empty, _ := w.b.peers.census(w.target.Root)
	unanswered := w.lookups > 0 && w.walker.Progress().Out == w.lookups && time.Since(w.moved) > rangeRetry
	var reason string
	switch {
	case outdated(w.target, recent):
		reason = "a new scan begins"
	case !w.b.cfg.Stands(w.target):
		reason = "its block is canonical no more"
	case all > 0 && empty == all, unanswered:
		reason = "no peer has the state"
	default:
		return false
	}
	w.b.log.Info("Walking anew", "reason", reason, "share", w.walker.Progress().Share, "number", w.target.Number, "newest", recent.Number)
	return true
}

// publish shows the progress, in the log every few seconds.
func (w *walk) publish() {
	done, waiting := w.walker.Progress(), w.waiting
	if waiting == "" && done.Out == 0 && len(w.walker.Parked()) > 0 {
		waiting = "for what fellows collect"
	}
	p := w.meter.progress(w.target, done, waiting)
	w.b.publish(p)
	if now := time.Now(); now.Sub(w.meter.reported) >= backfillReport {
		w.meter.reported = now
		w.b.log.Info("Collecting the state", "share", fmt.Sprintf("%.2f%%", 100*p.Share), "accounts", p.Accounts, "slots", p.Slots,
			"codes", p.Codes, "bytes", p.Bytes, "bytes_per_second", uint64(p.Rate), "eta", p.ETA, "inflight", p.Inflight, "waiting", p.Waiting)
	}
}

// bucket limits a rate: what is spent must have flown in before, a second's worth at most.
type bucket struct {
	rate, level float64
	at          time.Time
}

func newBucket(rate uint64) *bucket {
	return &bucket{rate: float64(rate), level: float64(rate), at: time.Now()}
}

// wait is how long it takes until something may be spent.
func (k *bucket) wait(now time.Time) time.Duration {
	if k.rate == 0 {
		return 0
	}
	k.level = min(k.rate, k.level+now.Sub(k.at).Seconds()*k.rate)
	k.at = now
	if k.level > 0 {
		return 0
	}
	return time.Duration((1 - k.level) / k.rate * float64(time.Second))
}

func (k *bucket) spend(n int) { k.level -= float64(n) }
