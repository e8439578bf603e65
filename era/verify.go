// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"
)

// runBlocks is how many blocks are read and checked together.
const runBlocks = 128

// Chain is what the headers of an archive say, which hang together.
type Chain struct {
	Parent common.Hash // of the first block
	Last   common.Hash // the last block
	ID     string      // eight hex digits, as in the name of the file
}

// Headers reads all headers, and verifies that each names the one before it, that total difficulties are the sums of the difficulties, and that
// the accumulator is that of the proof-of-work blocks.
func (a *Archive) Headers() (chain Chain, err error) {
	var (
		acc    accumulator
		td     *big.Int      // of the block before; nil: unknown
		parent *types.Header // the block before
	)
	for i := range a.count {
		header, total, err := a.header(i)
		if err != nil {
			return chain, fmt.Errorf("block %d: %w", a.first+uint64(i), err)
		}
		hash := header.Hash()
		switch {
		case parent == nil:
			chain.Parent = header.ParentHash
		case header.ParentHash != chain.Last:
			return chain, fmt.Errorf("block %d has parent %x, the block before it is %x", header.Number, header.ParentHash, chain.Last)
		case parent.Difficulty.Sign() == 0 && header.Difficulty.Sign() > 0:
			return chain, fmt.Errorf("block %d has a difficulty, and the one before it none", header.Number)
		}
		if td != nil && total != nil {
			if want := new(big.Int).Add(td, header.Difficulty); want.Cmp(total) != 0 {
				return chain, fmt.Errorf("block %d has total difficulty %d, want %d", header.Number, total, want)
			}
		}
		if header.Difficulty.Sign() > 0 {
			if total == nil {
				return chain, fmt.Errorf("block %d has no total difficulty", header.Number)
			}
			if err := acc.add(hash, total); err != nil {
				return chain, fmt.Errorf("block %d: %w", header.Number, err)
			}
		}
		td, parent, chain.Last = total, header, hash
	}
	root, err := a.checkAccumulator(&acc)
	chain.ID = fmt.Sprintf("%x", chain.Last[:4])
	if a.format == Era1 {
		chain.ID = fmt.Sprintf("%x", root[:4])
	}
	return chain, err
}

func (a *Archive) checkAccumulator(acc *accumulator) (root common.Hash, err error) {
	have, ok, err := a.Accumulator()
	if err != nil {
		return root, err
	}
	switch {
	case !ok && len(acc.records) == 0:
		return root, nil
	case !ok:
		return root, errors.New("archive has proof-of-work blocks and no accumulator")
	}
	if root = acc.root(); have != root {
		return root, fmt.Errorf("accumulator is %x, that of the blocks is %x", have, root)
	}
	return root, nil
}

// Blocks reads all blocks in order, verifies their bodies and receipts by the roots in their headers, and hands them over in runs.
// Headers has verified the rest.
func (a *Archive) Blocks(ctx context.Context, use func([]*Block) error) error {
	for from := 0; from < a.count; from += runBlocks {
		run := make([]*Block, min(runBlocks, a.count-from))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for i := range run {
			group.Go(func() (err error) {
				if err := ctx.Err(); err != nil {
					return err
				}
				if run[i], err = a.Block(from + i); err != nil {
					return err
				}
				return run[i].check()
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if err := use(run); err != nil {
			return err
		}
	}
	return nil
}
