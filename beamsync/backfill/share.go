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
	endgame       map[trie.Part]bool // parts of other members that we request from full peers
	inFlight      int                // requests to swarm peers
	idle          int                // ticks since nothing is in flight and delegated parts are missing
	endgameRounds int                // in which parts were added to endgame
}

// divide assigns the parts to members again.
func (w *walk) divide() {
	s := &w.sharing
	s.division = w.b.swarm.division(time.Now(), s.endgame)
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

// askSwarm requests delegated parts from the swarm peers that have them, as long as a plan admits that.
func (w *walk) askSwarm(ctx context.Context) {
	for includes(plan(w.know()), actAskSwarm) {
		p, parts := w.b.swarm.acquire(w.walker.Delegated(), time.Now())
		if p == nil {
			return
		}
		need := w.walker.Shared(parts)
		if need == nil {
			w.b.swarm.release(p)
			return
		}
		w.sharing.inFlight++
		w.bucket.spend(rangeBytes)
		w.requests.Add(1)
		go func() {
			defer w.requests.Done()
			w.responses <- w.requestSwarm(ctx, p, need)
		}()
	}
}

// requestSwarm makes one request to a swarm peer.
func (w *walk) requestSwarm(ctx context.Context, p *swarmPeer, need *trie.Need) *response {
	r := &response{need: need, swarmPeer: p, began: time.Now()}
	limited, cancel := context.WithTimeout(ctx, swarmDeadline)
	defer cancel()
	if need.Kind == trie.NeedCodes {
		var codes [][]byte
		if codes, r.err = p.ByteCodes(limited, need.Codes, rangeBytes); r.err == nil {
			r.bytes, r.err = w.keepCodes(need, codes)
			r.codes = len(codes)
		}
	} else {
		r.keys, r.values, r.proof, r.err = p.Subtrees(limited, need.Refs, rangeBytes)
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
		w.meter.bytes += uint64(r.bytes)
		w.meter.swarmBytes += uint64(r.bytes)
		w.bucket.spend(r.bytes - rangeBytes)
		if r.err == nil && r.need.Kind != trie.NeedCodes {
			w.unverified = append(w.unverified, r)
			return nil
		}
	}
	w.sharing.inFlight--
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
		w.walker.Return(r.need)
		return nil
	}
	w.b.swarm.finish(r.swarmPeer, served, refused, served+refused == 0, result == peer.ResultTimeout)
	switch {
	case r.err != nil:
		w.walker.Return(r.need)
		return nil //nolint:nilerr // the swarm peer answers for it
	case r.need.Kind == trie.NeedCodes:
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

// tickSwarm announces what is complete. When only delegated parts are missing for a while and no swarm peer delivers
// them, it begins the endgame: more and more parts of other members are requested from full peers.
func (w *walk) tickSwarm() {
	w.announce()
	s := &w.sharing
	delegated := w.walker.Delegated()
	if s.division == nil || len(delegated) == 0 || w.walker.Progress().InFlight > 0 || w.waiting != "" {
		s.idle = 0
	} else if s.idle++; s.idle >= endgameAfter {
		parts := s.division.endgameParts(delegated, min(1<<min(s.endgameRounds, 8), maxEndgameParts), s.idle >= endgameAll)
		for _, p := range parts {
			s.endgame[p] = true
		}
		if len(parts) > 0 {
			s.endgameRounds++
			w.b.log.Debug("Requesting parts assigned to other nodes", "parts", len(parts), "delegated", len(delegated))
		}
	}
	w.divide()
}
