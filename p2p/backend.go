package p2p

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
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
	// State opens the state under a root for one request, which uses it on one goroutine; nil
	// when nothing under this root is held.
	State(root common.Hash) State
	// Code returns a contract code by its hash, nil when it is not held.
	Code(hash common.Hash) []byte
}

// State is what is held of one state. A trie is named by its owner: the account hash for a
// storage trie, zero for the account trie. trie.Held is one.
type State interface {
	// TrieNode returns the node at path (nibbles), nil when it is not held.
	TrieNode(owner common.Hash, path []byte) []byte
	// Leaves calls each with the leaves from origin on, in order, until each returns false: an
	// account in slim encoding, a slot as the trie has it. An account that does not exist has no
	// slots. done is false if it ended before that because the next leaf is not held.
	Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool)
	// Prove returns the trie nodes from the root to a key, or to where it would be; nil when
	// one is not held.
	Prove(owner, key common.Hash) [][]byte
}

// Transactions takes what peers tell about pooled transactions and serves our own. It is
// called on the peer's serving goroutine, so it may ask the peer back only from another.
type Transactions interface {
	// Announced takes what a peer says that it has in its pool: types, sizes (bytes, network
	// encoding) and hashes, lists of one length. eth/66 tells hashes only: the others are nil.
	Announced(peer *Peer, kinds []byte, sizes []uint32, hashes []common.Hash)
	// Received takes transactions that were sent unasked: each once, none with blobs.
	Received(peer *Peer, txs []*types.Transaction)
	// Pooled returns a transaction in network encoding (blob transactions with their
	// sidecar), nil when it is not in the pool.
	Pooled(hash common.Hash) rlp.RawValue
}

// Gate bounds how many requests of peers are worked on at the same time, over all peers,
// so that serving never takes the machine from the node's own work.
type Gate struct {
	slots chan struct{}
	busy  func() bool
}

const (
	// gatePause is how long a request is held back at most while the node's own work wants the
	// processors: serving gets a small part of the time even if that never ends.
	gatePause = 200 * time.Millisecond
	// gateTick is how often it is looked whether it still does.
	gateTick = 5 * time.Millisecond
)

// NewGate returns a gate with n slots. busy says whether work of our own, a block, wants the
// processors now; it may be nil.
func NewGate(n int, busy func() bool) *Gate {
	return &Gate{slots: make(chan struct{}, n), busy: busy}
}

func (g *Gate) enter(ctx context.Context) error {
	if g == nil {
		return ctx.Err()
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.busy == nil {
		return nil
	}
	for waited := time.Duration(0); waited < gatePause && g.busy(); waited += gateTick {
		select {
		case <-time.After(gateTick):
		case <-ctx.Done():
			g.leave()
			return ctx.Err()
		}
	}
	return nil
}

func (g *Gate) leave() {
	if g != nil {
		<-g.slots
	}
}
