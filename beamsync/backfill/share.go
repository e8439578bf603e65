// SPDX-License-Identifier: LGPL-3.0-or-later

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
	maxSwarmRequests = 32                     // in flight to all swarm peers: bounds memory
	rendezvousTime   = 500 * time.Millisecond // in which nodes that begin at the same time learn of each other
	endgameAfter     = 3                      // idle ticks after which parts of other members are requested
	endgameAll       = 30                     // idle ticks after which those of active members are requested as well
	maxEndgameParts  = 32                     // at a time
)

// sharing is the state of a walk in the swarm. It belongs to Run's goroutine.
type sharing struct {
	division      *division          // nil: there is no swarm
	endgame       map[trie.Part]bool // parts of other members that we request from full peers: see division
	inFlight      int                // requests to swarm peers
	idle          int                // ticks since delegated parts are missing and nothing comes of them
	endgameRounds int                // in which parts were added to endgame
	patience      patience
	gained        bool // a swarm peer has served something since the last tick
	onlyProven    bool // strangers are no members: they had their time
}

// divide assigns the parts to members again.
func (w *walk) divide() {
	s := &w.sharing
	if w.hasFullPeers() {
		s.division = w.b.swarm.division(time.Now(), s.endgame, s.onlyProven)
	} else { // nobody else could serve the walk
		s.division = w.b.swarm.division(time.Now(), nil, false)
	}
	if s.division.alone() {
		s.division = nil
		w.walker.Divide(nil)
		return
	}
	for _, account := range w.b.swarm.largeTries() {
		w.walker.HintLargeTrie(account)
	}
	w.walker.Divide(s.division.mine)
}

// hasFullPeers says whether full peers are connected.
func (w *walk) hasFullPeers() bool {
	ranges, _, _ := w.b.peers.count(common.Hash{})
	data, _, _ := w.b.data.count(common.Hash{})
	return ranges+data > 0
}

// askSwarm requests delegated parts from the swarm peers that have them, as long as a plan admits that and the patience lasts.
func (w *walk) askSwarm(ctx context.Context) {
	if w.sharing.patience.ended() && w.hasFullPeers() {
		return
	}
	for includes(plan(w.know()), actAskSwarm) {
		p, parts := w.b.swarm.acquire(w.walker.Delegated(), time.Now())
		if p == nil {
			return
		}
		most := rangeBytes
		if !p.proven {
			most = strangerBytes
		}
		need := w.walker.Shared(parts, p.batch)
		if need == nil {
			w.b.swarm.release(p)
			return
		}
		w.sendSwarm(ctx, w.newTask(task{need: need, swarm: p}), most)
	}
}

// sampleSwarm asks strangers that claim to have what a full peer is asked for. Their responses show what the claims are worth.
func (w *walk) sampleSwarm(ctx context.Context) {
	newest := w.newest[w.b.peers]
	if newest == nil || w.sharing.inFlight >= maxSwarmRequests {
		return
	}
	for _, p := range w.b.swarm.strangers(time.Now(), maxSwarmRequests-w.sharing.inFlight) {
		for _, ref := range newest.need.Refs {
			if !w.b.swarm.acquireFor(p, ref) {
				continue
			}
			need := &trie.Need{Kind: trie.NeedSubtrees, Refs: []trie.NodeRef{ref}}
			w.sendSwarm(ctx, &task{need: need, swarm: p, over: true}, strangerBytes)
			break
		}
	}
}

// sendSwarm makes one request to a swarm peer that was acquired.
func (w *walk) sendSwarm(ctx context.Context, t *task, most int) {
	t.open++
	w.sharing.inFlight++
	w.bucket.spend(most)
	w.requests.Add(1)
	go func() {
		defer w.requests.Done()
		w.responses <- w.requestSwarm(ctx, t, most)
	}()
}

func (w *walk) requestSwarm(ctx context.Context, t *task, most int) *response {
	p, need := t.swarm, t.need
	r := &response{need: need, task: t, asked: most, swarmPeer: p, began: time.Now()}
	limited, cancel := context.WithTimeout(ctx, swarmDeadline)
	defer cancel()
	if need.Kind == trie.NeedCodes {
		var codes [][]byte
		if codes, r.err = p.ByteCodes(limited, need.Codes, uint64(most)); r.err == nil {
			r.bytes, r.err = w.keepCodes(need, codes)
			r.codes = len(codes)
		}
	} else {
		r.keys, r.values, r.proof, r.err = p.Subtrees(limited, need.Refs, uint64(most))
		r.bytes = sizeOf(r.keys, r.values, r.proof)
	}
	r.took = time.Since(r.began)
	return r
}

// keepCodes stores the requested codes. The error is a *[trie.InvalidRangeError] if there are others.
func (w *walk) keepCodes(need *trie.Need, codes [][]byte) (bytes int, err error) {
	requested := make(map[common.Hash]bool, len(need.Codes))
	for _, hash := range need.Codes {
		requested[hash] = true
	}
	for _, code := range codes {
		bytes += len(code)
		hash := crypto.Keccak256Hash(code)
		if !requested[hash] {
			return bytes, &trie.InvalidRangeError{Detail: fmt.Sprintf("code %x was not requested", hash)}
		}
		if err := w.b.cfg.Local.PutCode(hash, code); err != nil {
			return bytes, fmt.Errorf("keep code %x: %w", hash, err)
		}
	}
	return bytes, nil
}

// handleSwarm handles the response of a swarm peer: first as it was received, then verified.
func (w *walk) handleSwarm(ctx context.Context, r *response) error {
	if r.verified {
		w.verifying--
	} else {
		w.received(r)
		w.meter.swarmBytes += uint64(r.bytes)
		if r.err == nil && r.need.Kind != trie.NeedCodes {
			w.unverified, r.task.arrived = append(w.unverified, r), true
			return nil
		}
	}
	w.sharing.inFlight--
	r.task.open--
	served, refused := r.served()
	result, err := w.classifySwarm(ctx, r, served, refused)
	w.b.metrics.requests.WithLabelValues("swarm_"+r.need.Kind.String(), result).Inc()
	w.b.log.Debug("Swarm response", "peer", r.swarmPeer.ID(), "kind", r.need.Kind.String(), "result", result, "refs", len(r.need.Refs),
		"served", served, "refused", refused, "bytes", r.bytes, "took", r.took.Round(time.Millisecond), "err", r.err)
	if err != nil {
		return err
	}
	if result == peer.ResultCancelled {
		w.b.swarm.release(r.swarmPeer)
		w.failed(r.task)
		return nil
	}
	all := served+refused >= len(r.need.Refs)+len(r.need.Codes) || 2*r.bytes >= r.asked
	w.b.swarm.finish(r.swarmPeer, r.began, served, refused, all, result == peer.ResultTimeout)
	w.sharing.gained = w.sharing.gained || served > 0
	switch {
	case r.err != nil:
		w.failed(r.task)
		return nil //nolint:nilerr // the swarm peer answers for it
	case !w.end(r.task):
		w.discard(r)
		return nil
	}
	if served > 0 {
		w.sharing.patience.received(r.bytes, true)
	}
	if r.need.Kind == trie.NeedCodes {
		return w.walker.Found(r.need)
	}
	return w.walker.Deliver(r.need, r.delivery)
}

// served counts the subtrees or codes that a swarm peer served and refused.
func (r *response) served() (served, refused int) {
	switch {
	case r.err != nil:
		return 0, 0
	case r.need.Kind == trie.NeedCodes:
		return r.codes, max(len(r.need.Codes)-r.codes, 0)
	}
	return r.delivered(), r.delivery.Refused
}

// classifySwarm names the result of a request to a swarm peer, and blames the peer for invalid data. The error is one that the
// peer is not to blame for.
func (w *walk) classifySwarm(ctx context.Context, r *response, served, refused int) (result string, err error) {
	var invalid *trie.InvalidRangeError
	switch {
	case r.err == nil && served == 0:
		return peer.ResultEmpty, nil
	case r.err == nil && refused > 0:
		return peer.ResultPartial, nil
	case r.err == nil:
		return peer.ResultOK, nil
	case errors.As(r.err, &invalid):
		w.b.cfg.Book.Blame(r.swarmPeer.ID(), peer.BlameInvalid, fmt.Sprintf("%s: %v", r.need.Kind, invalid))
		return peer.ResultInvalid, nil
	case errors.Is(r.err, trie.ErrMalformed):
		return peer.ResultError, fmt.Errorf("%s: %w", r.need.Kind, r.err)
	case errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil:
		return peer.ResultTimeout, nil
	}
	return peer.ResultOf(ctx, r.err), nil
}

// rendezvous announces the walk to swarm peers, and waits a moment for the announcements of those that begin at the same
// time. It returns false if ctx has ended.
func (w *walk) rendezvous(ctx context.Context) bool {
	w.announce()
	if w.b.swarm.empty() {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(rendezvousTime):
		return true
	case <-ctx.Done():
		return false
	}
}

// announce announces what is complete on disk, if that has changed.
func (w *walk) announce() {
	have := newHave(w.target, w.b.swarm.started(), w.walker.CompleteSlices())
	if w.b.swarm.announce(have, time.Now()) && w.b.cfg.Announce != nil {
		w.b.cfg.Announce()
	}
}

// tickSwarm begins the endgame when only delegated parts are missing for a while and no swarm peer delivers
// them: more and more parts of other members are requested from full peers.
func (w *walk) tickSwarm() {
	s := &w.sharing
	delegated := w.walker.Delegated()
	if s.division == nil || len(delegated) == 0 || w.busy() || s.gained || w.waiting != "" {
		s.idle = 0
	} else if s.idle++; s.idle >= endgameAfter {
		w.takeParts(s.division.endgameParts(delegated, w.endgameSize(), s.idle >= endgameAll, false), false)
	}
	s.gained = false
	w.divide()
}

// endgameSize is how many parts to take over at a time.
func (w *walk) endgameSize() int { return min(1<<min(w.sharing.endgameRounds, 8), maxEndgameParts) }

// takeParts takes parts of other members over; forced says that it does so although swarm peers have them.
func (w *walk) takeParts(parts []trie.Part, forced bool) {
	s := &w.sharing
	for _, p := range parts {
		s.endgame[p] = s.endgame[p] || forced
	}
	if len(parts) > 0 {
		s.endgameRounds++
		w.b.log.Debug("Requesting parts assigned to other nodes", "parts", len(parts), "swarm_too_slow", forced)
	}
}

// takeOver takes parts over from swarm peers when full peers have nothing to do and the patience has ended: all that are left to
// strangers first, half of those that are left to others later. Needs that are at these peers return to the walker, although requests are out. again says that the
// walker has something for full peers then.
func (w *walk) takeOver(now time.Time) (again bool) {
	s := &w.sharing
	working := w.busy()
	delegated := w.walker.Delegated()
	waiting := !working && w.waiting == "" && w.hasFullPeers() && len(delegated)+len(w.tasks) > 0 && !w.yields(now) && w.bucket.wait(now) == 0
	s.patience.observe(now, working, waiting)
	if !waiting {
		return false
	}
	if left := s.patience.leftForStrangers(); left > 0 && !s.onlyProven {
		w.wakeAfter(left)
	} else if n := w.takeFrom(func(t *task) bool { return t.swarm != nil && !t.swarm.proven }); n > 0 || !s.onlyProven {
		s.onlyProven = true
		w.divide()
		return true
	}
	if !s.patience.ended() {
		w.wakeAfter(s.patience.left())
		return false
	}
	n := w.takeFrom(func(t *task) bool { return t.swarm != nil && now.Sub(t.began) >= lateAfter })
	if s.division != nil {
		parts := s.division.endgameParts(delegated, (len(delegated)+1)/2, true, true)
		w.takeParts(parts, true)
		n += len(parts)
	}
	if n == 0 {
		w.wakeAfter(lateAfter)
		return false
	}
	w.divide()
	return true
}

// takeFrom takes the needs of tasks back, and their parts over.
func (w *walk) takeFrom(late func(*task) bool) (n int) {
	return w.recall(func(t *task) bool {
		if !late(t) {
			return false
		}
		for _, ref := range t.need.Refs {
			w.sharing.endgame[partOf(ref)] = true
		}
		return true
	})
}

// partOf is the part that a node belongs to as long as its trie is not known as large.
func partOf(ref trie.NodeRef) trie.Part {
	if ref.Owner != (common.Hash{}) {
		return trie.Part{Slice: ref.Owner[0]}
	}
	first, _ := trie.KeyRange(ref.Path)
	return trie.Part{Slice: first[0]}
}
