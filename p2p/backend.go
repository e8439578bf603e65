package p2p

import (
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/snap"
	"github.com/ethereum/go-ethereum/rlp"
)

// ChainBackend is the chain that we announce and serve. Its methods are called
// concurrently and return nil for what is not held.
type ChainBackend interface {
	forkid.Blockchain // Config, Genesis, CurrentHeader
	HeaderBackend
	BlockBackend
}

// HeaderBackend looks headers up.
type HeaderBackend interface {
	Header(hash common.Hash) *types.Header
	// HeaderByNumber returns the canonical header of that number.
	HeaderByNumber(number uint64) *types.Header
}

// BlockBackend looks up what belongs to a block.
type BlockBackend interface {
	Block(hash common.Hash) *types.Block
	// Receipts returns a block's receipts; only consensus fields and Type are used.
	Receipts(hash common.Hash) types.Receipts
	// AccessList returns the encoded block access list (EIP-7928).
	AccessList(hash common.Hash) rlp.RawValue
	// Oldest is the number of the oldest canonical block held with body and receipts.
	Oldest() uint64
}

// StateBackend is the state that we serve: whatever part of it is held.
type StateBackend interface {
	// HasRoot says whether requests under this state root make sense at all.
	HasRoot(root common.Hash) bool
	// TrieNode returns the node at path (nibbles) of the account trie under root, or of
	// the storage trie of the account with hash owner; nil when it is not held.
	TrieNode(root, owner common.Hash, path []byte) []byte
	// Code returns a contract code by its hash, nil when it is not held.
	Code(hash common.Hash) []byte
}

// RangeBackend serves ranges of leaves with their proofs. It keeps to the limits in the
// requests, which are never above ours. A node without whole tries has none.
type RangeBackend interface {
	AccountRange(req *snap.GetAccountRangePacket) (accounts []*snap.AccountData, proof [][]byte)
	StorageRanges(req *snap.GetStorageRangesPacket) (slots [][]*snap.StorageData, proof [][]byte)
}

// Announcement is a transaction that a peer says it has in its pool.
type Announcement struct {
	Hash common.Hash
	Type byte
	Size uint32 // bytes, network encoding
}

// Transactions takes what peers tell about pooled transactions and serves our own. It is
// called on the peer's serving goroutine, so it may ask the peer back only from another.
type Transactions interface {
	Announced(peer *Peer, txs []Announcement)
	Received(peer *Peer, txs []*types.Transaction)
	// Pooled returns a transaction in network encoding (blob transactions with their
	// sidecar), nil when it is not in the pool.
	Pooled(hash common.Hash) rlp.RawValue
}

// Gate bounds how many requests of peers are worked on at the same time, over all peers,
// so that serving never takes the machine from the node's own work.
type Gate struct{ slots chan struct{} }

// NewGate returns a gate with n slots.
func NewGate(n int) *Gate { return &Gate{slots: make(chan struct{}, n)} }

func (g *Gate) enter(ctx context.Context) error {
	if g == nil {
		return ctx.Err()
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gate) leave() {
	if g != nil {
		<-g.slots
	}
}
