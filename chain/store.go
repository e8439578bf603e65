// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// Store is the storage of a [Chain]. Reads return nil, zero or false for what is absent. A store that
// fails (I/O error, corruption) may return the same, but from then on every Apply must fail, so
// that nothing is stored that follows from a failed read.
type Store interface {
	Blocks
	Index
	// Apply makes all changes of u or none, also across a crash.
	Apply(u *Update) error
}

// Blocks reads blocks by hash. Number returns the part of the key that the other methods need.
type Blocks interface {
	Number(hash common.Hash) (number uint64, ok bool)
	Header(hash common.Hash, number uint64) *types.Header
	Body(hash common.Hash, number uint64) *types.Body
	// Receipts are those that were stored, without fields derived from the block.
	Receipts(hash common.Hash, number uint64) types.Receipts
	// AccessList is the RLP of a block access list (EIP-7928).
	AccessList(hash common.Hash, number uint64) rlp.RawValue
}

// Index reads what is about blocks: their parts, the canonical chain, markers.
type Index interface {
	// Parts says which parts of a block are stored, without decoding them.
	Parts(hash common.Hash, number uint64) Parts
	CanonicalHash(number uint64) common.Hash
	// Lookup finds the number of the canonical block that has a transaction.
	Lookup(tx common.Hash) (number uint64, ok bool)
	Markers() Markers
	Segments() []Segment
	Config(genesis common.Hash) *params.ChainConfig
}

// Parts is a set of parts of one block.
type Parts uint8

// The parts of a block. IsExecuted means: this node executed it on its parent state, and it is valid.
const (
	HasBody Parts = 1 << iota
	HasReceipts
	IsExecuted
)

// Has says whether all of parts are in p.
func (p Parts) Has(parts Parts) bool { return p&parts == parts }

// Markers are the named points of the canonical chain. Hashes are zero where unset.
type Markers struct {
	Head, Safe, Finalized common.Hash
	Tail                  uint64 // lowest header linked to the head
	Oldest                uint64 // lowest block from which on, up to the head, all bodies and receipts are stored
}

// Update is one atomic change of a [Store]. Its fields are applied in order.
type Update struct {
	Genesis  *GenesisRecord
	Headers  []*types.Header
	Blocks   []*types.Block // header, body, and the access list if one is attached
	Executed []Execution
	History  []Execution // stored as Executed is, but not executed by this node

	Canonical map[uint64]common.Hash // the zero hash removes an entry
	Unindex   []common.Hash          // transactions whose lookups are removed
	Index     []Transactions         // transactions that get lookups
	Markers   *Markers
	Segments  *[]Segment
}

// GenesisRecord describes the network that a store belongs to.
type GenesisRecord struct {
	Hash   common.Hash
	Config *params.ChainConfig
	Alloc  []byte // genesis state as JSON, as go-ethereum keeps it; nil to leave it as it is
}

// Transactions are those of one block, by hash.
type Transactions struct {
	Number uint64
	Hashes []common.Hash
}

// Execution is a valid executed block with its receipts.
type Execution struct {
	Block    *types.Block
	Receipts types.Receipts
}
