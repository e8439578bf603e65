package rpc

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// Backend is the node as this package sees it. Chain, States and Engine are needed,
// the rest may be nil: methods that need it then say so.
type Backend struct {
	Chain     Chain
	Heads     Heads
	States    States
	Ancestors Ancestors
	Engine    Engine
	Network   Network
	Beam      Beam
	Pool      Pool
}

// Chain is what is held of the chain; *chain.Chain has it all. Unknown is nil or zero.
type Chain interface {
	Headers
	Blocks
	Bounds
	Config() *params.ChainConfig
	Genesis() *types.Block
	Status(hash common.Hash) chain.Status
}

// Bounds say from where on, up to the head, the canonical chain is held.
type Bounds interface {
	Oldest() uint64 // bodies and receipts
	Tail() uint64   // headers
}

// Heads announces changes of the canonical head.
type Heads interface {
	SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription
}

// Headers finds headers. CurrentHeader is never nil.
type Headers interface {
	CurrentHeader() *types.Header
	Safe() *types.Header
	Finalized() *types.Header
	Header(hash common.Hash) *types.Header
	HeaderByNumber(number uint64) *types.Header
}

// Blocks finds bodies and what came out of executing them.
type Blocks interface {
	Block(hash common.Hash) *types.Block
	BlockByNumber(number uint64) *types.Block
	Receipts(hash common.Hash) types.Receipts
	AccessList(hash common.Hash) rlp.RawValue
	Transaction(hash common.Hash) (tx *types.Transaction, block common.Hash, number uint64, index uint64)
}

// StateDatabase is the state under one root for one request: go-ethereum's state.Database
// over *trie.StateDatabase. Err is its error latch: the first read that failed, nil if all
// reads were answered.
type StateDatabase interface {
	state.Database
	Err() error
}

// States opens states. Reads of what is opened may fetch until ctx ends.
type States interface {
	Open(ctx context.Context, root common.Hash) (StateDatabase, error)
	// Window is the number of newest blocks whose state can be had: 128 while peers
	// serve it, zero if there is no such limit.
	Window() uint64
}

// Ancestors finds headers that the BLOCKHASH opcode needs, wherever they are.
type Ancestors interface {
	Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error)
}

// Engine takes blocks and fork choices from the consensus client. Both methods return
// SYNCING as soon as ctx ends and go on with the work; an error is internal, or one of the
// Engine API's own (engine.EngineAPIError).
type Engine interface {
	NewPayload(ctx context.Context, block *types.Block) (engine.PayloadStatusV1, error)
	Forkchoice(ctx context.Context, update engine.ForkchoiceStateV1) (engine.PayloadStatusV1, error)
}

// Network is the devp2p host. It reports in go-ethereum's types.
type Network interface {
	PeersInfo() []*gethp2p.PeerInfo
	NodeInfo() *gethp2p.NodeInfo
	AddPeer(node *enode.Node)
	RemovePeer(node *enode.Node)
}

// Pool is the transactions that wait to be included; *pool.Pool has it all. Errors of Send are
// go-ethereum's for what is wrong with a transaction; any other says that it could not be judged.
type Pool interface {
	Send(ctx context.Context, tx *types.Transaction) error
	// Nonce is the next one of an account on top of its pooled transactions.
	Nonce(ctx context.Context, addr common.Address) (uint64, error)
	Get(hash common.Hash) *types.Transaction
	Stats() (pending, queued int)
	Content() (pending, queued map[common.Address][]*types.Transaction)
	ContentFrom(addr common.Address) (pending, queued []*types.Transaction)
}

// Beam reports on syncing.
type Beam interface {
	// Progress is what eth_syncing is made of.
	Progress() Progress
	// Status is what beam_status shows: any value that encodes as a JSON object.
	Status() any
}

// Progress says how far the node is. Syncing is false once the head is VALID and served.
type Progress struct {
	Syncing bool
	Start   uint64 // block at which this run of the node began
	Current uint64 // newest executed block
	Highest uint64 // newest block known
}

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
