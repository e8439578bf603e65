package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	maxShared    = 32 // requests to all fellows: bounds memory
	meetingTime  = 500 * time.Millisecond
	stealAfter   = 3  // ticks of idleness after which parts of others are asked for
	patience     = 30 // ticks of idleness after which that of lively ones is asked for as well
	maxStolen    = 32 // parts at a time
	adoptedDelay = 32 // blocks that a state may lie behind the head to be collected because fellows do
)

// sharing is what a walk has to do with fellows: it belongs to Run's goroutine.
type sharing struct {
	division *division // nil: nobody is there
	taken    map[trie.Part]bool
	flying   int // requests to fellows
	idle     int // ticks since when nothing is in flight, and something waits for others
	rounds   int // of taking what is others'
}

// divide lets the walker know what is for whom.
func (w *walk) divide() {
	s := &w.sharing
	s.division = w.b.swarm.division(time.Now(), s.taken)
	if s.division.alone() {
		s.division = nil
		w.walker.Divide(nil)
		return
	}
	for _, account := range w.b.swarm.large() {
		w.walker.HintLargeTrie(account)
	}
	w.walker.Divide(s.division.mine)
}

// askFellows asks for what they have.
func (w *walk) askFellows(ctx context.Context) {
	if w.sharing.division == nil || w.yields(time.Now()) {
		return
	}
	for w.sharing.flying < maxShared {
		now := time.Now()
		if w.bucket.wait(now) > 0 {
			return // dispatch has set the timer
		}
		fellow, parts := w.b.swarm.next(w.walker.Parked(), now)
		if fellow == nil {
			return
		}
		need := w.walker.Shared(parts)
		if need == nil {
			w.b.swarm.release(fellow)
			return
		}
		w.sharing.flying++
		w.bucket.spend(rangeBytes)
		w.wires.Add(1)
		go func() {
			defer w.wires.Done()
			w.results <- w.askFellow(ctx, fellow, need)
		}()
	}
}

// askFellow makes one request.
func (w *walk) askFellow(ctx context.Context, fellow *fellow, need *trie.Need) *rangeResult {
	r := &rangeResult{need: need, fellow: fellow, began: time.Now()}
	limited, cancel := context.WithTimeout(ctx, fellowDeadline)
	defer cancel()
	if need.Kind == trie.NeedCodes {
		var codes [][]byte
		if codes, r.err = fellow.ByteCodes(limited, need.Codes, rangeBytes); r.err == nil {
			r.bytes, r.err = w.keepCodes(need, codes)
			r.codes = len(codes)
		}
	} else {
		r.keys, r.values, r.proof, r.err = fellow.Subtrees(limited, need.Refs, rangeBytes)
		r.bytes = sizeOf(r.keys, r.values, r.proof)
	}
	r.took = time.Since(r.began)
	return r
}

// keepCodes keeps codes that were asked for. The error is a *[trie.InvalidRangeError] if there are others.
func (w *walk) keepCodes(need *trie.Need, codes [][]byte) (bytes int, err error) {
	asked := make(map[common.Hash]bool, len(need.Codes))
	for _, hash := range need.Codes {
		asked[hash] = true
	}
	for _, code := range codes {
		bytes += len(code)
		hash := crypto.Keccak256Hash(code)
		if !asked[hash] {
			return bytes, &trie.InvalidRangeError{Detail: fmt.Sprintf("code %x, which was not asked for", hash)}
		}
		if err := w.b.cfg.Local.PutCode(hash, code); err != nil {
			return bytes, fmt.Errorf("keep code %x: %w", hash, err)
		}
	}
	return bytes, nil
}

// takeShared handles how a request to a fellow went.
func (w *walk) takeShared(ctx context.Context, r *rangeResult) error {
	if r.verified {
		w.proving--
	} else {
		w.meter.bytes += uint64(r.bytes)
		w.meter.fromFellows += uint64(r.bytes)
		w.bucket.spend(r.bytes - rangeBytes)
		if r.err == nil && r.need.Kind != trie.NeedCodes {
			w.unproved = append(w.unproved, r)
			return nil
		}
	}
	w.sharing.flying--
	swarm, served, refused := w.b.swarm, 0, 0
	switch {
	case r.err != nil:
	case r.need.Kind == trie.NeedCodes:
		served, refused = r.codes, max(len(r.need.Codes)-r.codes, 0)
	default:
		refused = r.delivery.Refused
		for _, piece := range r.delivery.Pieces {
			if piece != nil {
				served++
			}
		}
	}
	result, err := w.judgeFellow(ctx, r, served, refused)
	w.b.metrics.requests.WithLabelValues("fellow_"+r.need.Kind.String(), result).Inc()
	w.b.log.Debug("Fellow answered", "peer", r.fellow.ID(), "kind", r.need.Kind.String(), "result", result, "wants", len(r.need.Refs),
		"served", served, "refused", refused, "bytes", r.bytes, "took", r.took.Round(time.Millisecond), "err", r.err)
	if err != nil {
		return err
	}
	if result == peer.ResultCancelled {
		swarm.release(r.fellow)
		w.walker.Return(r.need)
		return nil
	}
	swarm.put(r.fellow, served, refused, served+refused == 0, result == peer.ResultTimeout)
	switch {
	case r.err != nil:
		w.walker.Return(r.need)
		return nil //nolint:nilerr // the fellow answers for it
	case r.need.Kind == trie.NeedCodes:
		return w.walker.Found(r.need)
	}
	return w.walker.Deliver(r.need, r.delivery)
}

// judgeFellow says how a request to a fellow ended, and blames it for what it did. The error is one that it is not to blame for.
func (w *walk) judgeFellow(ctx context.Context, r *rangeResult, served, refused int) (result string, err error) {
	var lie *trie.InvalidRangeError
	switch {
	case r.err == nil && served == 0:
		return peer.ResultEmpty, nil
	case r.err == nil && refused > 0:
		return peer.ResultPartial, nil
	case r.err == nil:
		return peer.ResultOK, nil
	case errors.As(r.err, &lie):
		if w.b.swarm.expel(r.fellow.ID()) {
			w.b.log.Warn("Fellow lied", "peer", r.fellow.ID(), "kind", r.need.Kind.String(), "detail", lie.Detail)
			w.b.blame(r.fellow.ID(), peer.BlameLie, lie.Error())
		}
		return peer.ResultLie, nil
	case errors.Is(r.err, trie.ErrMalformed):
		return peer.ResultError, fmt.Errorf("%s: %w", r.need.Kind, r.err)
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		return peer.ResultTimeout, nil
	}
	return peer.ResultOf(ctx, r.err), nil
}

// meet tells fellows that a walk begins, and gives those that begin at the same time a moment to tell it too. It
// returns false if ctx has ended.
func (w *walk) meet(ctx context.Context) bool {
	w.tell()
	if w.b.swarm.empty() {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(meetingTime):
		return true
	case <-ctx.Done():
		return false
	}
}

// tell tells fellows what is complete on disk, if that is news.
func (w *walk) tell() {
	if w.b.swarm.tell(haveOf(w.target, w.b.swarm.begun(), w.walker.CompleteSlices()), time.Now()) && w.b.cfg.Announce != nil {
		w.b.cfg.Announce()
	}
}

// share does what is due now and then: it tells what is complete, and when there is nothing to do but to wait for
// others, it takes something of theirs.
func (w *walk) share() {
	w.tell()
	s := &w.sharing
	parked := w.walker.Parked()
	if s.division == nil || len(parked) == 0 || w.walker.Progress().InFlight > 0 || w.waiting != "" {
		s.idle = 0
	} else if s.idle++; s.idle >= stealAfter {
		stolen := s.division.steal(parked, min(1<<min(s.rounds, 8), maxStolen), s.idle >= patience)
		for _, p := range stolen {
			s.taken[p] = true
		}
		if len(stolen) > 0 {
			s.rounds++
			w.b.log.Debug("Fetching what others were to bring", "parts", len(stolen), "parked", len(parked))
		}
	}
	w.divide()
}

// adopt chooses the state that fellows collect instead of a newer one, if ours is a chain with that state and
// full peers will serve it for long enough: then what they have is what we want, to the last node. After a state
// has been complete once and was of no use, it must be the head's.
func (b *Backfill) adopt(recent Target) Target {
	if _, again := b.Complete(); again || b.cfg.StateOf == nil {
		return recent
	}
	for _, have := range b.swarm.targets() {
		theirs := Target{Root: have.Root, Number: have.Number, Seed: recent.Seed}
		if have.Root == (common.Hash{}) {
			continue // StateOf says so of blocks that are not known
		}
		if have.Number+adoptedDelay >= recent.Number && !outdated(theirs, recent) && b.cfg.StateOf(have.Number) == have.Root {
			return theirs
		}
	}
	return recent
}
