package rpc

import (
	"context"
	"log/slog"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

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

// backend is what the namespaces share.
type backend struct {
	Backend
	cfg    Config
	log    *slog.Logger
	states *gate // state queries
	meters *meters
}
