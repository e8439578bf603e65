// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
)

var (
	errNotCanonical = errors.New("hash is not currently canonical")
	errNoHeader     = errors.New("header not found")
	errNoHeaderHash = errors.New("header for hash not found")
	errNoSelector   = errors.New("invalid arguments; neither block nor hash specified")
)

// number resolves a block tag. Pending is latest, for methods that do not know the pending block.
func (b *backend) number(number gethrpc.BlockNumber) (uint64, error) {
	switch number {
	case gethrpc.PendingBlockNumber, gethrpc.LatestBlockNumber:
		return b.Chain.CurrentHeader().Number.Uint64(), nil
	case gethrpc.EarliestBlockNumber:
		return b.Chain.Oldest(), nil
	case gethrpc.SafeBlockNumber:
		if header := b.Chain.Safe(); header != nil {
			return header.Number.Uint64(), nil
		}
		return 0, errors.New("safe block not found")
	case gethrpc.FinalizedBlockNumber:
		if header := b.Chain.Finalized(); header != nil {
			return header.Number.Uint64(), nil
		}
		return 0, errors.New("finalized block not found")
	}
	return uint64(number), nil
}

// header returns a canonical header, nil if it is in the future, error 4444 if it is not stored.
func (b *backend) header(number gethrpc.BlockNumber) (*types.Header, error) {
	n, err := b.number(number)
	if err != nil {
		return nil, err
	}
	switch number { // these headers are stored even where the canonical index has a gap
	case gethrpc.LatestBlockNumber, gethrpc.PendingBlockNumber:
		return b.Chain.CurrentHeader(), nil
	case gethrpc.SafeBlockNumber:
		return b.Chain.Safe(), nil
	case gethrpc.FinalizedBlockNumber:
		return b.Chain.Finalized(), nil
	case gethrpc.EarliestBlockNumber: // found by number below
	}
	header := b.Chain.HeaderByNumber(n)
	if header == nil && n < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return header, nil
}

// headerAt returns the header that a block parameter names; without an error it is not nil.
func (b *backend) headerAt(at gethrpc.BlockNumberOrHash) (*types.Header, error) {
	if number, ok := at.Number(); ok {
		header, err := b.header(number)
		if err == nil && header == nil {
			err = errNoHeader
		}
		return header, err
	}
	hash, ok := at.Hash()
	if !ok {
		return nil, errNoSelector
	}
	header := b.headerByHash(hash)
	if header == nil {
		return nil, errNoHeaderHash
	}
	if at.RequireCanonical && !b.canonical(header) {
		return nil, errNotCanonical
	}
	return header, nil
}

// headerByHash returns the header of a valid block, one that is executed or an ancestor of an executed one.
// Other headers are not trusted: one with a wrong state root has a hash like any other.
func (b *backend) headerByHash(hash common.Hash) *types.Header {
	header := b.Chain.Header(hash)
	if header == nil || b.Chain.Status(hash) != chain.Executed && !b.canonical(header) {
		return nil
	}
	return header
}

// canonical reports whether a header is in the canonical chain.
func (b *backend) canonical(header *types.Header) bool {
	found := b.Chain.HeaderByNumber(header.Number.Uint64())
	return found != nil && found.Hash() == header.Hash()
}

// block returns a canonical block, nil if it is in the future, error 4444 if it is not stored.
func (b *backend) block(number gethrpc.BlockNumber) (*types.Block, error) {
	n, err := b.number(number)
	if err != nil {
		return nil, err
	}
	block := b.Chain.BlockByNumber(n)
	if block == nil && n < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return block, nil
}

// canonicalBlock is block, with an error for a block in the future.
func (b *backend) canonicalBlock(number gethrpc.BlockNumber) (*types.Block, error) {
	block, err := b.block(number)
	if err == nil && block == nil {
		err = fmt.Errorf("block #%d not found", number)
	}
	return block, err
}

// blockByHash returns a valid block, nil if the hash is unknown or the block is not known to be valid, error
// 4444 if it is older than the oldest stored block.
func (b *backend) blockByHash(hash common.Hash) (*types.Block, error) {
	if block := b.validBlock(hash); block != nil {
		return block, nil
	}
	if header := b.Chain.Header(hash); header != nil && header.Number.Uint64() < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return nil, nil
}

// validBlock returns a stored block that is executed or a canonical ancestor of an executed one, else nil.
func (b *backend) validBlock(hash common.Hash) *types.Block {
	if b.Chain.Status(hash) != chain.Executed {
		header := b.Chain.Header(hash)
		if header == nil || header.Number.Uint64() < b.Chain.Oldest() || !b.canonical(header) {
			return nil
		}
	}
	return b.Chain.Block(hash)
}

// blockAt returns the block that a block parameter names, nil or error 4444 as for block and blockByHash.
func (b *backend) blockAt(at gethrpc.BlockNumberOrHash) (*types.Block, error) {
	if number, ok := at.Number(); ok {
		return b.block(number)
	}
	hash, ok := at.Hash()
	if !ok {
		return nil, errNoSelector
	}
	block, err := b.blockByHash(hash)
	if block == nil || err != nil {
		return nil, err
	}
	if at.RequireCanonical && !b.canonical(block.Header()) {
		return nil, errNotCanonical
	}
	return block, nil
}

// receipts returns the receipts of a block, one per transaction.
func (b *backend) receipts(block *types.Block) (types.Receipts, error) {
	receipts := b.Chain.Receipts(block.Hash())
	if len(receipts) == len(block.Transactions()) {
		return receipts, nil
	}
	if block.NumberU64() < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return nil, &codedError{codeServer, "receipts of block " + block.Number().String() + " are not stored"}
}

// orLatest is the block parameter, or latest if the caller omitted it.
func orLatest(at *gethrpc.BlockNumberOrHash) gethrpc.BlockNumberOrHash {
	if at != nil {
		return *at
	}
	return gethrpc.BlockNumberOrHashWithNumber(gethrpc.LatestBlockNumber)
}
