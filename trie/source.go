// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
)

// ErrUnavailable says that no peer can serve a node or a code now. It says nothing about
// whether a block is valid.
var ErrUnavailable = errors.New("state unavailable")

// ErrDamaged says that a state that is complete by all accounts lacks a node or a code, or has a wrong one: the database
// is damaged. It says nothing about whether a block is valid.
var ErrDamaged = errors.New("local state is damaged")

// Fault is one missing trie node, with what the caller knows about it.
type Fault struct {
	Root  common.Hash // state root of the read
	Owner common.Hash // account hash for a storage trie, zero for the account trie
	Path  []byte      // nibbles from the trie's root to the missing node, one per byte
	Hash  common.Hash // keccak256 of the missing node
	Key   []byte      // all 64 nibbles of the key being read; nil if only this node is wanted

	// StorageKeys are keys (hashes of slots) in the storage trie of the account at Key. They are
	// piggybacked on the request for the account: a server finds them without the storage root,
	// which is unknown until the account arrives. They are hints: a source may ignore them.
	StorageKeys []common.Hash
}

// Account returns Key as a hash. In the account trie it is the hash of the account that StorageKeys belong to.
func (f *Fault) Account() (hash common.Hash) {
	for i := range hash {
		hash[i] = f.Key[2*i]<<4 | f.Key[2*i+1]
	}
	return hash
}

// Node is a trie node that was verified: keccak256(Blob) == Hash.
type Node struct {
	Owner common.Hash
	Path  []byte // nibbles
	Hash  common.Hash
	Blob  []byte
}

// Source answers faults. Both methods block until the blob has arrived and is verified, or
// ctx ends, or no peer can serve it ([ErrUnavailable], wrapped). A source may write more than
// the requested blob into its stores, above all the nodes between Fault.Path and Fault.Key.
type Source interface {
	FetchNode(ctx context.Context, f Fault) ([]byte, error)
	FetchCode(ctx context.Context, hash common.Hash) ([]byte, error)
}

// Store reads nodes and codes from local storage. A miss is (nil, nil); an error means that
// the store itself is broken. Returned blobs have the wanted hash: a store on disk is behind
// a [Cache], which checks that. Callers must not modify them.
type Store interface {
	Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error)
	Code(hash common.Hash) ([]byte, error)
}

// Sink takes verified nodes and codes. It may drop them later (a cache), and it must not keep
// references to Path.
type Sink interface {
	PutNodes(nodes []Node) error
	PutCode(hash common.Hash, code []byte) error
}

// Local is a store that can be written to.
type Local interface {
	Store
	Sink
}
