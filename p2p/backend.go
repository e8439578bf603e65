// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/forkid"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/rlp"
)

// ChainBackend is the chain that the node announces and serves. Its methods are called
// concurrently and return nil for what is not in the database.
type ChainBackend interface {
	forkid.Blockchain // Config, Genesis, CurrentHeader
	HeaderBackend
	BlockBackend
}

// HeaderBackend looks up headers.
type HeaderBackend interface {
	Header(hash common.Hash) *types.Header
	// HeaderByNumber returns the canonical header of that number.
	HeaderByNumber(number uint64) *types.Header
}

// BlockBackend looks up blocks, receipts and access lists.
type BlockBackend interface {
	Block(hash common.Hash) *types.Block
	// Receipts returns a block's receipts; only consensus fields and Type are used.
	Receipts(hash common.Hash) types.Receipts
	// AccessList returns the encoded block access list (EIP-7928).
	AccessList(hash common.Hash) rlp.RawValue
	// Oldest is the number of the oldest canonical block whose body and receipts are stored.
	Oldest() uint64
}

// StateBackend is the local state that the node serves, complete or not.
type StateBackend interface {
	// State opens the state of a root for one request, which reads it on one goroutine. It
	// returns nil if the node has nothing of that state.
	State(root common.Hash) State
	// Code returns contract code by hash, nil if it is missing.
	Code(hash common.Hash) []byte
}

// State is the local part of one state. Owner names a trie: the account hash for a storage
// trie, zero for the account trie. Package trie implements it.
type State interface {
	// TrieNode returns the node at path (nibbles), nil if it is missing.
	TrieNode(owner common.Hash, path []byte) []byte
	// Leaves calls each for the leaves from origin on, in order, until each returns false.
	// Accounts are in slim encoding, slots as in the trie. An account that does not exist has
	// no slots. done is false if the next leaf is missing locally.
	Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool)
	// Prove returns the trie nodes from the root to a key, or to where the key would be. It
	// returns nil if one of them is missing.
	Prove(owner, key common.Hash) [][]byte
}

// Transactions receives the peers' pooled transactions and serves the node's own. It is
// called on the peer's serving goroutine, so it must send requests to the peer from another.
type Transactions interface {
	// Announced receives an announcement of pooled transactions: types, sizes (bytes, network
	// encoding of the peer's version) and hashes, lists of one length. eth/66 has hashes only: the
	// others are nil. columns are those of which the peer has the cells, for all announced blobs;
	// none before eth/72.
	Announced(peer *Peer, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap)
	// Received receives broadcast transactions: each once, none with blobs.
	Received(peer *Peer, txs []*types.Transaction)
	// Pooled returns a transaction in the network encoding of a version of eth: blob transactions
	// have a sidecar, from eth/72 on without blobs. It is nil if the pool does not have it, or too
	// few of its cells.
	Pooled(hash common.Hash, version uint) rlp.RawValue
	// Cells returns the cells of a pooled transaction's blobs in some columns, blob after blob. It
	// is nil if the pool does not have all of them.
	Cells(hash common.Hash, columns types.CustodyBitmap) []kzg4844.Cell
}
