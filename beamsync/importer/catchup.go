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
func (i *Importer) catchUp(ctx context.Context, states *fullStates, hash common.Hash, number uint64) Outcome {
	defer i.showCatchUp(nil)
	// The headers come first, without the token: it may be that no peer has them.
	if _, outcome := i.missedBlocks(ctx, states, hash, number); outcome.ended() {
		return outcome
	}
	select {
	case i.catching <- struct{}{}:
		defer func() { <-i.catching }()
	case <-ctx.Done():
		return syncing(ctx.Err())
	}
	missed, outcome := i.missedBlocks(ctx, states, hash, number) // what is left to do
	if outcome.ended() {
		return outcome
	}
	long := len(missed) > longCatchUp
	if long {
		i.cfg.Log.Info("Catching up", "blocks", len(missed), "target", number)
	}
	logged := time.Now()
	for len(missed) > 0 {
		n := min(len(missed), catchUpBlocks)
		blocks, err := i.blocks(ctx, missed[len(missed)-n:])
		if err != nil {
			return syncing(err)
		}
		for k := n - 1; k >= 0; k-- {
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
func (i *Importer) missedBlocks(ctx context.Context, states *fullStates, hash common.Hash, number uint64) ([]common.Hash, Outcome) {
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
		header := i.cfg.Chain.Header(hash)
		if header == nil {
			var err error
			if header, err = i.fetchHeaders(ctx, states, hash, number); err != nil {
				return nil, syncing(err)
			}
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

// fetchHeaders fetches and stores a header and those below it. It returns the first one.
func (i *Importer) fetchHeaders(ctx context.Context, states *fullStates, hash common.Hash, number uint64) (*types.Header, error) {
	floor := states.lowest
	if head := i.cfg.Chain.CurrentHeader().Number.Uint64(); head < number {
		floor = max(floor, head)
	}
	headers, err := i.cfg.Blocks.Headers(ctx, hash, int(min(number-floor, headerBatch)))
	if err != nil {
		return nil, fmt.Errorf("headers from block %d down: %w", number, err)
	}
	if headers[0].Number.Uint64() != number {
		return nil, fmt.Errorf("block %x has number %d, its child expects %d", hash, headers[0].Number, number)
	}
	return headers[0], i.cfg.Chain.AddHeaders(headers)
}

// blocks gets blocks whose headers are stored, in the same order.
func (i *Importer) blocks(ctx context.Context, hashes []common.Hash) ([]*types.Block, error) {
	var (
		blocks  = make([]*types.Block, len(hashes))
		missing []*types.Header
		at      []int
	)
	for k, hash := range hashes {
		if blocks[k] = i.cfg.Chain.Block(hash); blocks[k] == nil {
			missing = append(missing, i.cfg.Chain.Header(hash))
			at = append(at, k)
		}
	}
	if len(missing) == 0 {
		return blocks, nil
	}
	fetched, err := i.cfg.Blocks.Bodies(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("bodies of missed blocks: %w", err)
	}
	for k, block := range fetched {
		blocks[at[k]] = block
	}
	return blocks, nil
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
