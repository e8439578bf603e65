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
	// catchUpBlocks are held in memory at once: about 32 MB of full blocks.
	catchUpBlocks = 32
	// longCatchUp is how many blocks make it a sync: the head follows it then. It is well above what
	// a reorg or a short break leaves.
	longCatchUp = 64
)

// CatchUp is how far a full node is with blocks that it missed, or whose state it lost.
type CatchUp struct {
	Number uint64 `json:"number"` // of the block in work; the headers are still being fetched if zero
	Target uint64 `json:"target"` // of the last block
	Left   uint64 `json:"left"`   // blocks to execute
}

// catchUp makes the state of a block: it goes back to the nearest ancestor whose state is there, and
// executes forward from that one. Headers and bodies that are not held are fetched. This serves
// whatever a full node has to make up for: blocks missed while it was off, states lost in a kill, a side chain
// that was executed before the hand-over. One runs at a time; who comes later finds it done.
//
// The error is an *invalidAncestor if a block on the way is invalid.
func (i *Importer) catchUp(ctx context.Context, states *complete, hash common.Hash, number uint64) error {
	defer i.showCatchUp(nil)
	// First the headers, beside others who do: it may be that nobody has them.
	if _, err := i.trail(ctx, states, hash, number); err != nil {
		return err
	}
	select {
	case i.catching <- struct{}{}:
		defer func() { <-i.catching }()
	case <-ctx.Done():
		return ctx.Err()
	}
	trail, err := i.trail(ctx, states, hash, number) // what is left to do
	if err != nil {
		return err
	}
	long := len(trail) > longCatchUp
	if long {
		i.cfg.Log.Info("Catching up", "blocks", len(trail), "target", number)
	}
	told := time.Now()
	for len(trail) > 0 {
		n := min(len(trail), catchUpBlocks)
		blocks, err := i.blocks(ctx, trail[len(trail)-n:])
		if err != nil {
			return err
		}
		for k := n - 1; k >= 0; k-- {
			i.showCatchUp(&CatchUp{Number: blocks[k].NumberU64(), Target: number, Left: uint64(len(trail))})
			if now := time.Now(); now.Sub(told) >= progressInterval {
				told = now
				i.cfg.Log.Info("Catching up", "number", blocks[k].Number(), "target", number, "left", len(trail))
			}
			if err := i.replay(ctx, states, blocks[k]); err != nil {
				return err
			}
			trail = trail[:len(trail)-1]
		}
		if long {
			i.followCatchUp(blocks[0].Hash())
		}
	}
	return nil
}

// followCatchUp moves the head along while the one that was chosen is not reached.
func (i *Importer) followCatchUp(hash common.Hash) {
	i.choosing.Lock()
	defer i.choosing.Unlock()
	i.mu.Lock()
	chosen := i.mu.choice.HeadBlockHash
	i.mu.Unlock()
	header := i.cfg.Chain.Header(hash)
	if chosen == (common.Hash{}) || i.cfg.Chain.Status(chosen) == chain.Executed || header.Number.Cmp(i.cfg.Chain.CurrentHeader().Number) <= 0 {
		return
	}
	if _, err := i.cfg.Chain.SetHead(hash); err != nil {
		i.cfg.Log.Warn("Head not moved along", "hash", hash, "err", err)
	}
}

// errStateGone says that a chain leaves that of a full node below all states that are there.
var errStateGone = fmt.Errorf("no ancestor's state is held: %w", trie.ErrUnavailable)

// trail lists the blocks to execute so that the state of one is there, newest first: hashes only, so
// that it may be long.
func (i *Importer) trail(ctx context.Context, states *complete, hash common.Hash, number uint64) ([]common.Hash, error) {
	var trail []common.Hash
	for ; !i.stands(states, hash); number-- {
		if number <= states.bottom {
			return nil, fmt.Errorf("block %d %x: %w", number, hash, errStateGone)
		}
		if i.cfg.Chain.Rejects(hash) {
			if latest, err := i.cfg.Chain.Rejection(hash); err != nil {
				return nil, &invalidAncestor{latest: latest, reason: err}
			}
		}
		header := i.cfg.Chain.Header(hash)
		if header == nil {
			var err error
			if header, err = i.fetchHeaders(ctx, states, hash, number); err != nil {
				return nil, err
			}
		}
		trail = append(trail, hash)
		hash = header.ParentHash
		if len(trail)%headerBatch == 0 {
			i.showCatchUp(&CatchUp{Target: number + uint64(len(trail)), Left: uint64(len(trail))})
		}
	}
	return trail, nil
}

// fetchHeaders fetches and keeps a header and those below it, and returns the first one.
func (i *Importer) fetchHeaders(ctx context.Context, states *complete, hash common.Hash, number uint64) (*types.Header, error) {
	floor := states.bottom
	if head := i.cfg.Chain.CurrentHeader().Number.Uint64(); head < number {
		floor = max(floor, head)
	}
	headers, err := i.cfg.Blocks.Headers(ctx, hash, int(min(number-floor, headerBatch)))
	if err != nil {
		return nil, fmt.Errorf("headers from block %d down: %w", number, err)
	}
	if headers[0].Number.Uint64() != number {
		return nil, fmt.Errorf("block %x has number %d, its child wants %d", hash, headers[0].Number, number)
	}
	return headers[0], i.cfg.Chain.AddHeaders(headers)
}

// blocks gets blocks whose headers are held, in the same order.
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

// replay executes a block on the state of its parent, which is there, so that its own is. One that was
// executed before stays what it is.
func (i *Importer) replay(ctx context.Context, states *complete, block *types.Block) error {
	parent := i.cfg.Chain.Header(block.ParentHash())
	if parent == nil {
		return errHeaderGone(block.ParentHash())
	}
	before := i.cfg.Chain.Status(block.Hash()) == chain.Executed
	if !before {
		if err := i.verify(block, parent); err != nil {
			return i.rejectAncestor(block, err)
		}
	}
	result := i.cfg.Executor.Execute(ctx, evm.Job{
		Block: block, Parent: parent, State: states.Open(ctx, parent.Root), Headers: ancestors{i},
	})
	switch {
	case result.Outcome == evm.Incomplete:
		return fmt.Errorf("block %d %x: %w", block.Number(), block.Hash(), result.Err)
	case result.Outcome == evm.Invalid && before:
		return fmt.Errorf("block %d %x was valid when it was executed first: %w", block.Number(), block.Hash(), result.Err)
	case result.Outcome == evm.Invalid:
		return i.rejectAncestor(block, result.Err)
	case before:
		return nil
	}
	if err := i.keep(block, result); err != nil {
		return err
	}
	i.metrics.imports.WithLabelValues(evm.Valid.String()).Inc()
	return nil
}

func (i *Importer) rejectAncestor(block *types.Block, reason error) error {
	if errors.Is(reason, chain.ErrBodyMismatch) {
		return reason // nothing to remember of a hash that may be good
	}
	status := i.rejectBlock(block, reason)
	return &invalidAncestor{latest: status.LatestValidHash, reason: fmt.Errorf("%w %s: %w", chain.ErrRejectedAncestor, block.Hash().Hex(), reason)}
}

// invalidAncestor says that what a block stands on is invalid.
type invalidAncestor struct {
	latest *common.Hash
	reason error
}

// Error implements error.
func (e *invalidAncestor) Error() string { return e.reason.Error() }

// showCatchUp makes known how far it is.
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
