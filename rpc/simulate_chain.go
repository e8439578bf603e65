// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// simulatedSlot is the time between simulated blocks, in seconds, unless the caller says otherwise.
const simulatedSlot = 12

// placeBlocks gives each block a number and a timestamp after those of base. Where the caller left numbers out, it
// inserts empty blocks, so that the result is a chain.
func placeBlocks(blocks []simulatedBlock, base *types.Header) ([]simulatedBlock, error) {
	placed := make([]simulatedBlock, 0, len(blocks))
	number, time := base.Number, base.Time
	place := func(block simulatedBlock, header blockOverride, at *big.Int) {
		header.Number, header.Time = quantity(at), ptr(hexutil.Uint64(time))
		block.Header = &header
		placed = append(placed, block)
		number = at
	}
	for _, block := range blocks {
		header, next := valueOr(block.Header, blockOverride{}), following(number)
		wanted := next
		if header.Number != nil {
			wanted = header.Number.ToInt()
		}
		if wanted.Cmp(number) <= 0 {
			return nil, &codedError{codeBlockNumber, fmt.Sprintf("block numbers must be in order: %d <= %d", wanted.Uint64(), number)}
		}
		if distance := new(big.Int).Sub(wanted, base.Number); distance.Cmp(big.NewInt(maxSimulatedBlocks)) > 0 {
			return nil, errTooManyBlocks()
		}
		for ; next.Cmp(wanted) < 0; next = following(number) {
			time += simulatedSlot
			place(simulatedBlock{}, blockOverride{}, next)
		}
		switch {
		case header.Time == nil:
			time += simulatedSlot
		case uint64(*header.Time) <= time:
			return nil, &codedError{codeBlockTimestamp, fmt.Sprintf("block timestamps must be in order: %d <= %d", uint64(*header.Time), time)}
		default:
			time = uint64(*header.Time)
		}
		place(block, header, wanted)
	}
	return placed, nil
}

func following(n *big.Int) *big.Int { return new(big.Int).Add(n, common.Big1) }

// simulatedChain is the chain below base, and the blocks that were simulated on base. The EVM finds the ancestors of
// a simulated block in it.
type simulatedChain struct {
	*chainContext
	base      *types.Header
	simulated []*types.Header // in order of their numbers, the first is the child of base
}

// append adds the header of an executed block.
func (c *simulatedChain) append(header *types.Header) { c.simulated = append(c.simulated, header) }

// last is the parent of the next simulated block.
func (c *simulatedChain) last() *types.Header {
	if n := len(c.simulated); n > 0 {
		return c.simulated[n-1]
	}
	return c.base
}

// GetHeader returns an ancestor of the next simulated block.
func (c *simulatedChain) GetHeader(hash common.Hash, number uint64) *types.Header {
	base := c.base.Number.Uint64()
	switch {
	case number < base:
		return c.chainContext.GetHeader(hash, number)
	case number == base:
		return ifHash(c.base, hash)
	case number-base <= uint64(len(c.simulated)):
		return ifHash(c.simulated[number-base-1], hash)
	}
	return nil
}

// ifHash returns the header if it has the hash, else nil.
func ifHash(header *types.Header, hash common.Hash) *types.Header {
	if header.Hash() != hash {
		return nil
	}
	return header
}

// draftHeaders returns the headers of placed blocks, with what is known before any of them is executed. A header
// inherits fee recipient, difficulty and gas limit from the block before it.
func (c *simulatedChain) draftHeaders(blocks []simulatedBlock) ([]*types.Header, error) {
	headers := make([]*types.Header, len(blocks))
	last := c.base
	for i, block := range blocks {
		header, err := draftHeader(c.Config(), last, block.Header)
		if err != nil {
			return nil, err
		}
		headers[i], last = header, header
	}
	return headers, nil
}

func draftHeader(config *params.ChainConfig, last *types.Header, override *blockOverride) (*types.Header, error) {
	number, time := override.Number.ToInt(), uint64(*override.Time)
	header := &types.Header{
		UncleHash: types.EmptyUncleHash, ReceiptHash: types.EmptyReceiptsHash, TxHash: types.EmptyTxsHash,
		Coinbase: last.Coinbase, Difficulty: last.Difficulty, GasLimit: last.GasLimit, Number: number, Time: time,
	}
	if config.IsPostMerge(number.Uint64(), time) {
		header.Difficulty = new(big.Int)
	}
	if override.Difficulty != nil && header.Difficulty.Sign() == 0 {
		return nil, invalidParams("block %d: difficulty override is not allowed after the merge", number)
	}
	if config.IsShanghai(number, time) {
		header.WithdrawalsHash = &types.EmptyWithdrawalsHash
	}
	if config.IsCancun(number, time) {
		root := valueOr(override.BeaconRoot, common.Hash{})
		header.ParentBeaconRoot = &root
	}
	if last.SlotNumber != nil { // without one, that of the block is not known
		header.SlotNumber = ptr(*last.SlotNumber + 1)
	}
	return override.header(header), nil
}
