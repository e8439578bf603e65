// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// headerBatch is how many headers are asked for at once when blocks were missed.
	headerBatch = 512
	// catchUpBlocks are in memory at once: about 32 MB of full blocks.
	catchUpBlocks = 32
	// bodiesTimeout is how long a catch-up keeps others from executing while it waits for bodies.
	bodiesTimeout = 20 * time.Second
	// longCatchUp is how many blocks make it a sync: the head follows it then. It is well above what
	// a reorg or a short break leaves.
	longCatchUp = 64
)

// CatchUp is the progress of a full node with blocks that it missed, or whose state it lost.
type CatchUp struct {
	Number uint64 `json:"number"` // of the block that is executed; zero while headers are fetched
	Target uint64 `json:"target"` // of the last block
	Left   uint64 `json:"left"`   // blocks to execute
}

// catchUp makes the state of a block available: it goes back to the nearest ancestor with a state, and executes forward
// from that one. Headers and bodies that are not stored are fetched. This serves all that a full node can have missed:
// blocks while it was off, states lost in a kill, a side chain that was executed before the switch to full. One runs at
// a time; the next one finds its work done.
//
// The outcome is that of the block: Valid once its state is available, Invalid if a block on the way is.
func (i *Importer) catchUp(ctx context.Context, job *importJob, states *fullStates, hash common.Hash, number uint64) Outcome {
	defer i.showCatchUp(nil)
	for {
		// Headers, and the bodies of the first blocks, come before the token: it may be that no peer has them.
		missed, outcome := i.missedBlocks(ctx, job, states, hash, number)
		if outcome.ended() {
			return outcome
		}
		first, err := i.blocks(ctx, job, oldest(missed))
		if err != nil {
			return syncing(err)
		}
		outcome = i.executeMissed(ctx, job, states, hash, number, first)
		if !errors.Is(outcome.Reason, errBodiesLate) {
			return outcome
		}
	}
}

// oldest returns the missed blocks that are executed next, newest first.
func oldest(missed []common.Hash) []common.Hash { return missed[max(0, len(missed)-catchUpBlocks):] }

// executeMissed executes the missed blocks of a catch-up, under its token. The blocks that come first were fetched
// before.
func (i *Importer) executeMissed(ctx context.Context, job *importJob, states *fullStates, hash common.Hash, number uint64, first []*types.Block) Outcome {
	select {
	case i.catching <- struct{}{}:
		defer func() { <-i.catching }()
	case <-ctx.Done():
		return syncing(ctx.Err())
	}
	missed, outcome := i.missedBlocks(ctx, job, states, hash, number) // what is left to do
	if outcome.ended() {
		return outcome
	}
	long := len(missed) > longCatchUp
	if long {
		i.cfg.Log.Info("Catching up", "blocks", len(missed), "target", number)
	}
	logged := time.Now()
	for blocks := first; len(missed) > 0; blocks = nil {
		next := oldest(missed)
		if len(blocks) != len(next) || blocks[0].Hash() != next[0] {
			var err error
			if blocks, err = i.blocksInTime(ctx, job, next); err != nil {
				return syncing(err)
			}
		}
		for k := len(blocks) - 1; k >= 0; k-- {
			i.showCatchUp(&CatchUp{Number: blocks[k].NumberU64(), Target: number, Left: uint64(len(missed))})
			if now := time.Now(); now.Sub(logged) >= progressInterval {
				logged = now
				i.cfg.Log.Info("Catching up", "number", blocks[k].Number(), "target", number, "left", len(missed))
			}
			if outcome := i.replay(ctx, states, blocks[k]); outcome.Status != Valid {
				return i.ofMissed(outcome, missed)
			}
			missed = missed[:len(missed)-1]
		}
		if long {
			i.followCatchUp(blocks[0].Hash())
		}
	}
	return valid(hash)
}

// errBodiesLate releases the token of a catch-up that waits for bodies, so that others can go on.
var errBodiesLate = errors.New("bodies of missed blocks are late")

// blocksInTime is blocks for the holder of the token.
func (i *Importer) blocksInTime(ctx context.Context, job *importJob, hashes []common.Hash) ([]*types.Block, error) {
	waiting, cancel := context.WithTimeout(ctx, bodiesTimeout)
	defer cancel()
	blocks, err := i.blocks(waiting, job, hashes)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, errBodiesLate
	}
	return blocks, err
}

// followCatchUp advances the head while the forkchoice head is not reached.
func (i *Importer) followCatchUp(hash common.Hash) {
	i.choosing.Lock()
	defer i.choosing.Unlock()
	i.mu.Lock()
	chosen := i.mu.choice.Head
	i.mu.Unlock()
	header := i.cfg.Chain.Header(hash)
	if chosen == (common.Hash{}) || i.cfg.Chain.Status(chosen) == chain.Executed || header.Number.Cmp(i.cfg.Chain.CurrentHeader().Number) <= 0 {
		return
	}
	if _, err := i.cfg.Chain.SetHead(hash); err != nil {
		i.cfg.Log.Warn("Failed to advance the head during catch-up", "hash", hash, "err", err)
	}
}

// errNoState says that a chain leaves that of a full node below all available states.
var errNoState = fmt.Errorf("no ancestor's state is available: %w", trie.ErrUnavailable)

// missedBlocks lists the blocks to execute so that the state of one becomes available, newest first: hashes only, so
// that it may be long. The outcome is that of the block if it needs no execution or cannot be executed.
func (i *Importer) missedBlocks(ctx context.Context, job *importJob, states *fullStates, hash common.Hash, number uint64) ([]common.Hash, Outcome) {
	var missed []common.Hash
	for ; !i.isExecutable(states, hash); number-- {
		if number <= states.lowest {
			return nil, syncing(fmt.Errorf("block %d %x: %w", number, hash, errNoState))
		}
		if i.cfg.Chain.Rejects(hash) {
			if latest, err := i.cfg.Chain.Rejection(hash); err != nil {
				return nil, i.ofMissed(invalid(latest, err), missed)
			}
		}
		header, outcome := i.missedHeader(ctx, job, states, hash, number, missed)
		if header == nil {
			return nil, outcome
		}
		missed = append(missed, hash)
		hash = header.ParentHash
		if len(missed)%headerBatch == 0 {
			i.showCatchUp(&CatchUp{Target: number + uint64(len(missed)), Left: uint64(len(missed))})
		}
	}
	if len(missed) == 0 {
		return nil, valid(hash)
	}
	return missed, Outcome{}
}

// ofMissed turns the outcome of a missed block into that of the newest one, which descends from it, and has the chain
// record an invalid one.
func (i *Importer) ofMissed(outcome Outcome, missed []common.Hash) Outcome {
	if outcome.Status != Invalid || len(missed) == 0 {
		return outcome
	}
	if latest, err := i.cfg.Chain.Rejection(missed[0]); err != nil {
		return invalid(latest, err)
	}
	return outcome // too far from its invalid ancestor to be recorded
}

// missedHeader returns a header, and stores it if it was not. It comes from the block's job or from peers, which send
// those below it too. If it returns none, it returns the outcome of the newest missed block or, if there is none yet, of the
// block with this hash.
func (i *Importer) missedHeader(ctx context.Context, job *importJob, states *fullStates, hash common.Hash, number uint64, missed []common.Hash) (*types.Header, Outcome) {
	if header := i.cfg.Chain.Header(hash); header != nil {
		return header, Outcome{}
	}
	headers, err := i.missedHeaders(ctx, job, states, hash, number)
	if err != nil {
		return nil, syncing(fmt.Errorf("headers from block %d down: %w", number, err))
	}
	linked := headers
	if len(missed) > 0 {
		linked = append([]*types.Header{i.cfg.Chain.Header(missed[len(missed)-1])}, headers...)
	}
	if outcome := i.verifyLinked(linked); outcome.final() {
		return nil, i.ofMissed(outcome, missed)
	}
	if headers[0].Number.Uint64() != number { // a catch-up without a job does not verify its first header
		return nil, syncing(fmt.Errorf("block %x has number %d, its child expects %d", hash, headers[0].Number, number))
	}
	if err := i.cfg.Chain.AddHeaders(headers); err != nil {
		return nil, syncing(err)
	}
	return headers[0], Outcome{}
}

// missedHeaders gets a header, and those below it as far as they are at hand.
func (i *Importer) missedHeaders(ctx context.Context, job *importJob, states *fullStates, hash common.Hash, number uint64) (headers []*types.Header, err error) {
	if arrived := i.lookup(hash); arrived != nil {
		return []*types.Header{arrived.block.Header()}, nil
	}
	floor := states.lowest
	if head := i.cfg.Chain.CurrentHeader().Number.Uint64(); head < number {
		floor = max(floor, head)
	}
	amount := int(min(number-floor, headerBatch))
	if job != nil {
		return i.fetchAncestors(ctx, job, hash, amount)
	}
	err = i.fetchUnlessArrived(ctx, nil, []common.Hash{hash}, func(ctx context.Context) (err error) {
		headers, err = i.cfg.Blocks.Headers(ctx, hash, amount)
		return err
	})
	return headers, err
}

// blocks gets blocks whose headers are stored, in the same order: from the store, from jobs, or from peers.
func (i *Importer) blocks(ctx context.Context, job *importJob, hashes []common.Hash) ([]*types.Block, error) {
	blocks := make([]*types.Block, len(hashes))
	for {
		var (
			missing []*types.Header
			at      []int
		)
		for k, hash := range hashes {
			if blocks[k] == nil {
				blocks[k] = i.localBlock(hash)
			}
			if blocks[k] == nil {
				missing = append(missing, i.cfg.Chain.Header(hash))
				at = append(at, k)
			}
		}
		if len(missing) == 0 {
			return blocks, nil
		}
		err := i.fetchUnlessArrived(ctx, job, hashesOf(missing), func(ctx context.Context) error {
			fetched, err := i.cfg.Blocks.Bodies(ctx, missing)
			for k, block := range fetched {
				blocks[at[k]] = block
			}
			return err
		})
		if err != nil && (!errors.Is(err, errArrived) || errors.Is(err, errArrivedInvalid)) {
			return nil, fmt.Errorf("bodies of missed blocks: %w", err)
		}
	}
}

// localBlock returns a stored block or that of a job, else nil.
func (i *Importer) localBlock(hash common.Hash) *types.Block {
	if block := i.cfg.Chain.Block(hash); block != nil {
		return block
	}
	if job := i.lookup(hash); job != nil {
		return job.block
	}
	return nil
}

// replay executes a block on the state of its parent, which is available, so that its own becomes so. The outcome of
// a block that was executed before does not change.
func (i *Importer) replay(ctx context.Context, states *fullStates, block *types.Block) Outcome {
	parent := i.cfg.Chain.Header(block.ParentHash())
	if parent == nil {
		return syncing(errHeaderMissing(block.ParentHash()))
	}
	before := i.cfg.Chain.Status(block.Hash()) == chain.Executed
	if !before {
		switch err := i.verify(block, parent); {
		case errors.Is(err, chain.ErrBodyMismatch):
			return syncing(err) // not recorded: the hash may be valid
		case err != nil:
			return ofDescendant(block.Hash(), i.reject(block, err))
		}
	}
	result := i.cfg.Executor.Execute(ctx, evm.Job{
		Block: block, Parent: parent, State: states.Open(ctx, parent.Root), Headers: ancestors{i},
	})
	switch {
	case result.Outcome == evm.Incomplete:
		return syncing(fmt.Errorf("block %d %x: %w", block.Number(), block.Hash(), result.Err))
	case result.Outcome == evm.Invalid && before:
		return syncing(fmt.Errorf("block %d %x was valid when it was executed first: %w", block.Number(), block.Hash(), result.Err))
	case result.Outcome == evm.Invalid:
		return ofDescendant(block.Hash(), i.reject(block, result.Err))
	case before:
		return valid(block.Hash())
	}
	if err := i.commit(block, result); err != nil {
		return syncing(err)
	}
	i.metrics.imports.WithLabelValues(evm.Valid.String()).Inc()
	return valid(block.Hash())
}

// showCatchUp publishes the progress; nil: there is nothing to catch up with.
func (i *Importer) showCatchUp(c *CatchUp) {
	if c == nil {
		i.metrics.missed.Set(0)
	} else {
		i.metrics.missed.Set(float64(c.Left))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.catchUp = c
}
