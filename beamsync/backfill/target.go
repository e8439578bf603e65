// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// The scan of the Beam Sync specification: all nodes take the seed from the same blocks and restart
// at the same time, so that they need the same parts of the state and can serve them to
// each other.
const (
	// SeedInterval is the distance of the blocks whose hashes are seeds.
	SeedInterval = 100
	// seedDelay is the number of blocks after a seed block at which the scan restarts: its hash is settled then.
	seedDelay = 5
	// maxRootAge is how many blocks the root may be behind the head. Peers keep 128 states.
	maxRootAge = 110
	// maxAdoptLag is how many blocks a state of swarm peers may be behind the head to be adopted.
	maxAdoptLag = 32
)

// Target is a state to complete.
type Target struct {
	Root   common.Hash
	Number uint64      // of its block
	Seed   common.Hash // hash of the latest block with number % SeedInterval == 0
}

// outdated says whether a walk should restart at another target.
func outdated(old, recent Target) bool {
	if old.Root == recent.Root || recent.Number <= old.Number {
		return false
	}
	// Number of scans that have begun up to a block.
	scans := func(number uint64) uint64 { return (number + SeedInterval - seedDelay) / SeedInterval }
	return scans(recent.Number) != scans(old.Number) || recent.Number-old.Number > maxRootAge
}

// await waits until there is a state to complete.
func (b *Backfill) await(ctx context.Context, meter *meter) (Target, bool) {
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	for {
		if target, ok := b.cfg.Recent(); ok {
			b.swarm.begin(time.Now())
			return b.adopt(target), true
		}
		b.publish(meter.progress(Target{}, nil, "for the first executed block"))
		select {
		case <-ctx.Done():
			return Target{}, false
		case <-tick.C:
		}
	}
}

// adopt chooses the state that swarm peers collect over a newer one, if that state is on our chain and full peers will
// serve it for long enough: then their parts match ours in every node. Once a complete state was
// of no use to the caller, the next one must be the head's.
func (b *Backfill) adopt(recent Target) Target {
	if _, again := b.Complete(); again || b.cfg.StateOf == nil {
		return recent
	}
	for _, have := range b.swarm.targets() {
		theirs := Target{Root: have.Root, Number: have.Number, Seed: recent.Seed}
		if have.Root == (common.Hash{}) {
			continue // StateOf returns it for unknown blocks
		}
		if have.Number+maxAdoptLag >= recent.Number && !outdated(theirs, recent) && b.cfg.StateOf(have.Number) == have.Root {
			return theirs
		}
	}
	return recent
}

// outdated says whether to restart: in time with the specification, or because no peer has this state any longer.
func (w *walk) outdated() bool {
	recent, ok := w.b.cfg.Recent()
	if !ok || recent.Root == w.target.Root {
		return false
	}
	all, empty, _ := w.b.peers.count(w.target.Root)
	unanswered := w.lookups > 0 && w.walker.Progress().InFlight == w.lookups && time.Since(w.lastProgress) > rangeRetry
	var reason string
	switch {
	case outdated(w.target, recent):
		reason = "a new scan begins"
	case !w.b.cfg.Canonical(w.target):
		reason = "its block is no longer canonical"
	case all > 0 && empty == all, unanswered:
		reason = "no peer has the state"
	default:
		return false
	}
	w.b.log.Info("Restarting state backfill", "reason", reason, "number", w.target.Number, "newest", recent.Number)
	return true
}
