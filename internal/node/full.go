// SPDX-License-Identifier: LGPL-3.0-or-later

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
	// switchPause is the time between attempts to switch to full mode.
	switchPause = 5 * time.Second
	// retireDelay is how long Hot is kept at most for blocks that are still executed on it.
	retireDelay = 30 * time.Second
)

// loadedStates are the complete states that a full node finds on disk when it starts. From then on the importer has them.
type loadedStates struct {
	states importer.States // nil: the node starts beaming
	lowest uint64          // see importer.LowestState
}

// full returns the complete states, nil while beaming above genesis.
func (n *Node) full() *db.Full {
	if n.importer == nil {
		return nil // offline, or starting
	}
	if states, ok := n.importer.States().(executable); ok {
		return states.Full
	}
	return n.genesis.Load()
}

// executable adapts db.Full to importer.States.
type executable struct{ *db.Full }

// Open implements importer.States.
func (e executable) Open(ctx context.Context, root common.Hash) evm.State {
	return e.Full.Open(ctx, root)
}

// stateAt returns the local store for the nodes and codes of a state.
func (n *Node) stateAt(root common.Hash) trie.Store {
	store, _ := n.localState(root)
	return store
}

// localState returns the local store for the nodes and codes of a state, and whether that has all of them.
func (n *Node) localState(root common.Hash) (store trie.Store, complete bool) {
	if full := n.full(); full != nil && full.Has(root) {
		return full.Store(root), true
	}
	return n.local, false
}

// openStates opens the states of a node that was in full mode when it stopped.
func (n *Node) openStates() error {
	is, err := n.store.IsFull()
	if err != nil {
		return err
	}
	if _, damaged := n.store.Damage(); damaged {
		if err := n.store.DropFull(); err != nil {
			return err
		}
		return n.store.UnmarkFull()
	}
	if is && n.chain.CurrentHeader().Number.Sign() == 0 { // an import was killed before its first block
		if err := n.store.UnmarkFull(); err != nil {
			return err
		}
		is = false
	}
	if !is {
		return n.openGenesisStates()
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
	n.log.Error("State on disk belongs to no stored block: beaming again to complete a state", "head", n.chain.CurrentHeader().Number)
	if err := n.store.DropFull(); err != nil {
		return err
	}
	return n.store.MarkDamaged(n.chaindata() + ": the state on disk belongs to no stored block")
}

// runPhases makes a beaming node a full one when a state is complete, and a full one a beaming one
// when its chain was reorganised below all states that it has.
func (n *Node) runPhases(ctx context.Context) error {
	if err := n.leaveGenesis(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if n.importer.Phase() == importer.Beaming {
			if err := n.becomeFull(ctx); err != nil {
				return err
			}
		}
		select {
		case <-n.importer.StateLost():
		case <-n.store.DamageFound():
			if err := n.leaveDamaged(); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return nil
		}
		n.log.Warn("Chosen head descends from no block with local state: beaming again to complete a state")
		if err := n.store.UnmarkFull(); err != nil {
			return err
		}
		n.importer.SwitchToBeaming()
	}
	return nil
}

// becomeFull completes a state and switches to full mode, until that succeeds or ctx ends.
func (n *Node) becomeFull(ctx context.Context) error {
	for {
		if err := n.store.DropFull(); err != nil { // what a phase before this one left
			return err
		}
		if err := n.leaveDamaged(); err != nil || n.backfill == nil { // what was found in it until then
			return err
		}
		if err := n.checkDamagedState(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		if err := n.backfill.Run(ctx); err != nil {
			return err
		}
		target, ok := n.backfill.Complete()
		if ctx.Err() != nil || !ok {
			return nil //nolint:nilerr // told to stop
		}
		done, err := n.switchToFull(ctx, target)
		if done || err != nil {
			return err
		}
		select {
		case <-time.After(switchPause):
		case <-ctx.Done():
			return nil
		}
	}
}

// switchToFull makes a full node of one whose complete-subtree store has a whole state. It returns
// false if that state cannot be used: then a newer one must be completed, of which most is there.
func (n *Node) switchToFull(ctx context.Context, target backfill.Target) (done bool, err error) {
	base := n.chain.HeaderByNumber(target.Number)
	if base == nil || base.Root != target.Root {
		n.log.Info("Completed state is of a block that is no longer canonical: completing a newer one", "number", target.Number, "root", target.Root)
		return false, nil
	}
	full, err := n.store.EnableFull(target.Root, n.cache)
	if err != nil {
		return false, fmt.Errorf("switch to full mode at block %d: %w", target.Number, err)
	}
	if err := n.importer.SwitchToFull(ctx, executable{full}, base, n.store.MarkFull); err != nil {
		if ctx.Err() == nil {
			n.log.Warn("Failed to switch to full mode, retrying", "number", target.Number, "err", err)
		}
		return false, nil
	}
	n.log.Info("Switched to full mode: the state is complete, blocks need no peers for it", "number", n.chain.CurrentHeader().Number)
	return true, n.retireHot(ctx)
}

// retireHot deletes Hot when no block is executed on it any more. If the process ends before
// that, the next one does it.
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
