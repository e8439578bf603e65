// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"log/slog"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/internal/health"
	"github.com/sunbeam-eth/sunbeam/logindex"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Backend is the part of the node that requests need. Chain, States, Engine and Blobs are required. Methods that
// need one of the others return an error if it is nil.
type Backend struct {
	Chain     Chain
	Heads     Heads
	States    States
	Ancestors Ancestors
	Engine    Engine
	Network   Network
	Beam      Beam
	Pool      Pool
	Blobs     Blobs
	Payloads  Payloads
	Busy      func() bool // a block is being imported: calls that compute for long pause; nil: never

	Prefetcher Prefetcher
	History    History
	Witnesses  Witnesses
	LogIndex   LogIndex
	LogLevels  LogLevels
	Database   Database
}

// History is the collection of old blocks.
type History interface {
	// Collecting says whether it goes on, so that a transaction that is not found may be in a block that will come.
	Collecting() bool
}

// LogLevels changes which log lines are written; go-ethereum's GlogHandler implements it.
type LogLevels interface {
	Verbosity(level slog.Level)
	Vmodule(pattern string) error
}

// Database is what is known about the database of the chain.
type Database interface {
	// Property is the engine's own statistics, as text.
	Property() (string, error)
}

// Chain reads the local chain; *chain.Chain implements it. What is not stored is nil or zero.
type Chain interface {
	Headers
	Blocks
	Bounds
	Config() *params.ChainConfig
	Genesis() *types.Block
	Status(hash common.Hash) chain.Status
	// BadBlocks are the highest blocks that were rejected since the start, highest first.
	BadBlocks() []*types.Block
}

// Bounds are the oldest canonical blocks from which on, up to the head, all are stored.
type Bounds interface {
	Oldest() uint64 // bodies and receipts
	Tail() uint64   // headers
}

// Heads announces changes of the canonical head.
type Heads interface {
	SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription
}

// Headers reads headers. CurrentHeader is never nil.
type Headers interface {
	CurrentHeader() *types.Header
	Safe() *types.Header
	Finalized() *types.Header
	IsBelowFinalized(header *types.Header) bool // whether a stored block is an ancestor of the finalized one
	Header(hash common.Hash) *types.Header
	HeaderByNumber(number uint64) *types.Header
}

// Blocks reads bodies and the results of their execution.
type Blocks interface {
	Block(hash common.Hash) *types.Block
	BlockByNumber(number uint64) *types.Block
	Receipts(hash common.Hash) types.Receipts
	AccessList(hash common.Hash) rlp.RawValue
	Transaction(hash common.Hash) (tx *types.Transaction, block common.Hash, number uint64, index uint64)
}

// StateDatabase is the state with one root, opened for one request; *trie.StateDatabase implements it.
// Err is its error latch: the first read that failed, nil if none did.
type StateDatabase interface {
	state.Database
	Err() error
	// Faulted is closed at the first read that needs a fetch.
	Faulted() <-chan struct{}
	// Touched are the keys that were read.
	Touched() *trie.Touched
}

// States opens states. Reads of an opened state may fetch from peers until ctx ends.
type States interface {
	Open(ctx context.Context, root common.Hash) (StateDatabase, error)
	// Window is the number of newest blocks whose state is available: 128 while peers serve it, zero
	// if there is no limit.
	Window() uint64
}

// Ancestors reads headers that the BLOCKHASH opcode needs, from peers if they are not stored.
type Ancestors interface {
	Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error)
}

// Prefetcher fetches what a block is going to read of its parent's state, before it is traced. It ends with ctx, and
// reports nothing: what it does not fetch, the trace does.
type Prefetcher interface {
	Prefetch(ctx context.Context, block *types.Block, parent *types.Header)
}

// LogIndex finds logs without reading all blocks; *logindex.Index implements it.
type LogIndex interface {
	Search(ctx context.Context, head *types.Header, q logindex.Query) (logindex.Result, error)
}

// Engine imports blocks and fork choices from the consensus client. Both methods return Syncing as soon as
// ctx ends, and the import goes on. An error is internal, or wraps chain.ErrNotCanonical.
type Engine interface {
	NewPayload(ctx context.Context, block *types.Block) importer.Outcome
	Forkchoice(ctx context.Context, update importer.Forkchoice) (importer.Outcome, error)
}

// Network is the devp2p server.
type Network interface {
	PeersInfo() []*gethp2p.PeerInfo
	NodeInfo() *gethp2p.NodeInfo
	AddPeer(node *enode.Node)
	RemovePeer(node *enode.Node)
	// A trusted peer may connect when all slots are taken.
	AddTrustedPeer(node *enode.Node)
	RemoveTrustedPeer(node *enode.Node)
	// SubscribeEvents sends what happens to connections.
	SubscribeEvents(ch chan<- *gethp2p.PeerEvent) event.Subscription
}

// Pool is the transaction pool; *pool.Pool implements it. Send returns go-ethereum's errors for invalid
// transactions. Any other error means that the transaction could not be validated.
type Pool interface {
	Send(ctx context.Context, tx *types.Transaction) error
	// SubscribePending sends the transactions that become executable.
	SubscribePending(ch chan<- []*types.Transaction) event.Subscription
	// Nonce is the nonce of an account after its pooled transactions.
	Nonce(ctx context.Context, addr common.Address) (uint64, error)
	Get(hash common.Hash) *types.Transaction
	Stats() (pending, queued int)
	Content() (pending, queued map[common.Address][]*types.Transaction)
	ContentFrom(addr common.Address) (pending, queued []*types.Transaction)
}

// Payloads builds blocks; *payloadbuilder.Builder implements it.
type Payloads interface {
	Start(ctx context.Context, attributes payloadbuilder.Attributes) (engine.PayloadID, error)
	Get(ctx context.Context, id engine.PayloadID) (*payloadbuilder.Envelope, error)
	BuildOnce(ctx context.Context, attributes payloadbuilder.Attributes, txs []*types.Transaction, extra []byte) (*payloadbuilder.Envelope, error)
	// Pending is the block that would follow the head, of the pool's transactions.
	Pending(ctx context.Context) (*types.Block, types.Receipts, error)
}

// Beam reports the progress of the sync.
type Beam interface {
	// Progress is for eth_syncing.
	Progress() Progress
	// Status is the result of beam_status, any value that encodes as a JSON object.
	Status() any
	// Overview is the result of beam_overview, what the status page shows: a value that encodes as a JSON object.
	Overview() any
	// Health is what /health and /ready say.
	Health() health.Report
}

// Progress is how far the sync is. Syncing is false once the head is VALID and its state is served.
type Progress struct {
	Syncing bool
	Reason  string // why it is syncing
	NoHead  bool   // no block was executed yet, so that the genesis block is no head whose state may be read
	Start   uint64 // head when the node started
	Current uint64 // newest executed block
	Highest uint64 // newest known block
}

// backend is shared by all namespaces.
type backend struct {
	Backend
	cfg          Config
	log          *slog.Logger
	stateQueries *limiter
	traces       *limiter
	processors   *processors
	callers      *callers
	metrics      *metrics
	suggestion   suggestion
	witnessed    *lru.Cache[engine.PayloadID, struct{}] // payloads that are returned with their witness
}
