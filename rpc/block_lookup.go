package rpc

import (
	"errors"

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

// number resolves a tag. Pending is latest: this node builds no blocks.
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

// header finds a canonical header: nil if it does not exist yet, 4444 if it does but is
// not held.
func (b *backend) header(number gethrpc.BlockNumber) (*types.Header, error) {
	n, err := b.number(number)
	if err != nil {
		return nil, err
	}
	switch number { // the header of a marker is held even where the canonical index has a gap
	case gethrpc.LatestBlockNumber, gethrpc.PendingBlockNumber:
		return b.Chain.CurrentHeader(), nil
	case gethrpc.SafeBlockNumber:
		return b.Chain.Safe(), nil
	case gethrpc.FinalizedBlockNumber:
		return b.Chain.Finalized(), nil
	case gethrpc.EarliestBlockNumber: // is a number by now
	}
	header := b.Chain.HeaderByNumber(n)
	if header == nil && n < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return header, nil
}

// headerAt finds the header that a state query stands on; it is never nil without an error.
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

// headerByHash finds the header of a block that was executed, or that one that was executed
// descends from. Of others nothing is known: a header with a wrong state root is still a
// header with the hash that it has.
func (b *backend) headerByHash(hash common.Hash) *types.Header {
	header := b.Chain.Header(hash)
	if header == nil || b.Chain.Status(hash) != chain.Executed && !b.canonical(header) {
		return nil
	}
	return header
}

func (b *backend) canonical(header *types.Header) bool {
	found := b.Chain.HeaderByNumber(header.Number.Uint64())
	return found != nil && found.Hash() == header.Hash()
}

// block finds a canonical block: nil if it does not exist yet, 4444 if it is not held.
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

// blockByHash finds a block that was executed, or an ancestor of one: nil if its hash says
// nothing to us or nothing is known about its worth, 4444 if it is from before what is held.
func (b *backend) blockByHash(hash common.Hash) (*types.Block, error) {
	if block := b.held(hash); block != nil {
		return block, nil
	}
	if header := b.Chain.Header(hash); header != nil && header.Number.Uint64() < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return nil, nil
}

// held finds a block that was executed, or collected as an ancestor of one. Of others nothing
// is known.
func (b *backend) held(hash common.Hash) *types.Block {
	if b.Chain.Status(hash) != chain.Executed {
		header := b.Chain.Header(hash)
		if header == nil || header.Number.Uint64() < b.Chain.Oldest() || !b.canonical(header) {
			return nil
		}
	}
	return b.Chain.Block(hash)
}

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

// receipts finds the receipts of a block, one per transaction.
func (b *backend) receipts(block *types.Block) (types.Receipts, error) {
	receipts := b.Chain.Receipts(block.Hash())
	if len(receipts) == len(block.Transactions()) {
		return receipts, nil
	}
	if block.NumberU64() < b.Chain.Oldest() {
		return nil, errPruned()
	}
	return nil, &codedError{codeServer, "receipts of block " + block.Number().String() + " are not held"}
}

// orLatest is the default of an omitted block parameter.
func orLatest(at *gethrpc.BlockNumberOrHash) gethrpc.BlockNumberOrHash {
	if at != nil {
		return *at
	}
	return gethrpc.BlockNumberOrHashWithNumber(gethrpc.LatestBlockNumber)
}
