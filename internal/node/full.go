package node

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// handOverPause is how long it takes until a hand-over that failed is tried again.
	handOverPause = 5 * time.Second
	// retireDelay is how long Hot is kept at most for blocks that are still executed on it.
	retireDelay = 30 * time.Second
)

// loadedStates are the complete states that a full node finds on disk when it starts. From then on the importer has them.
type loadedStates struct {
	states importer.States // nil: the node starts beaming
	lowest uint64          // see importer.LowestState
}

// full returns the complete states, nil while beaming.
func (n *Node) full() *db.Full {
	if n.importer == nil {
		return nil // offline, or starting
	}
	if states, ok := n.importer.States().(executable); ok {
		return states.Full
	}
	return nil
}

// executable adapts db.Full to importer.States.
type executable struct{ *db.Full }

// Open implements importer.States.
func (e executable) Open(ctx context.Context, root common.Hash) evm.State {
	return e.Full.Open(ctx, root)
}

// stateAt is where nodes of a state, and codes, are found locally.
func (n *Node) stateAt(root common.Hash) trie.Store {
	if full := n.full(); full != nil && full.Has(root) {
		return full.Store(root)
	}
	return n.local
}

// openStates opens the states of a node that was a full one when it ended.
func (n *Node) openStates() error {
	is, err := n.store.IsFull()
	if err != nil || !is {
		return err
	}
	full, err := n.store.OpenFull(n.cache)
	if err != nil {
		return err
	}
	if lowest, ok := importer.LowestState(n.chain, executable{full}); ok {
		n.loaded = loadedStates{executable{full}, lowest}
		return nil
	}
	if err := n.store.Err(); err != nil {
		return err // see open
	}
	n.log.Error("The state on disk is that of no block that is held: beaming again, and collecting what differs", "head", n.chain.CurrentHeader().Number)
	if err := n.store.DropFull(); err != nil {
		return err
	}
	return n.store.UnmarkFull()
}

// runPhases makes a beaming node a full one, and one whose chain turned away from all states that it has a
// beaming one again.
func (n *Node) runPhases(ctx context.Context) error {
	for ctx.Err() == nil {
		if n.importer.Phase() == importer.Beaming {
			if err := n.becomeFull(ctx); err != nil {
				return err
			}
		}
		select {
		case <-n.importer.StateLost():
		case <-ctx.Done():
			return nil
		}
		n.log.Warn("The chosen head descends from no block whose state is held: beaming again, and collecting what differs")
		n.importer.SwitchToBeaming()
		if err := n.store.UnmarkFull(); err != nil {
			return err
		}
	}
	return nil
}

// becomeFull collects the state and hands over, until that has been done or ctx ends.
func (n *Node) becomeFull(ctx context.Context) error {
	for {
		if err := n.store.DropFull(); err != nil || n.backfill == nil { // what a phase before this one left
			return err
		}
		if err := n.backfill.Run(ctx); err != nil {
			return err
		}
		target, ok := n.backfill.Complete()
		if ctx.Err() != nil || !ok {
			return nil //nolint:nilerr // told to stop
		}
		done, err := n.handOver(ctx, target)
		if done || err != nil {
			return err
		}
		select {
		case <-time.After(handOverPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// handOver makes a full node of one whose Solid has a complete state. It returns false if that
// state is of no use: then a newer one has to be completed, of which most is there.
func (n *Node) handOver(ctx context.Context, target backfill.Target) (done bool, err error) {
	base := n.chain.HeaderByNumber(target.Number)
	if base == nil || base.Root != target.Root {
		n.log.Info("The complete state is that of a block that is canonical no more", "number", target.Number, "root", target.Root)
		return false, nil
	}
	full, err := n.store.EnableFull(target.Root, n.cache)
	if err != nil {
		return false, fmt.Errorf("hand-over at block %d: %w", target.Number, err)
	}
	if err := n.importer.SwitchToFull(ctx, executable{full}, base, n.store.MarkFull); err != nil {
		if ctx.Err() == nil {
			n.log.Warn("Failed to switch to full mode, retrying", "number", target.Number, "err", err)
		}
		return false, nil
	}
	n.log.Info("Full node: the state is complete, and nothing is fetched for blocks any more", "number", n.chain.CurrentHeader().Number)
	return true, n.retireHot(ctx)
}

// retireHot deletes what was fetched on demand, when no block is executed on it any more. If the process
// ends before that, the next one does it.
func (n *Node) retireHot(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); n.importer.Working() && time.Since(began) < retireDelay; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return n.store.Hot().Retire()
}
