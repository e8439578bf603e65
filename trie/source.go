package trie

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"
)

// ErrUnavailable says that nobody can serve a node or a code now: the answer to
// "can it be known now?" is no. It says nothing about whether a block is good.
var ErrUnavailable = errors.New("state unavailable")

// Fault is one missing trie node, with what the asker knows about it.
type Fault struct {
	Root  common.Hash // state root that the reader stands on
	Owner common.Hash // account hash for a storage trie, zero for the account trie
	Path  []byte      // nibbles from the trie's root to the missing node, one per byte
	Hash  common.Hash // keccak256 of the missing node
	Key   []byte      // all 64 nibbles of the key being read; nil if only this node is wanted

	// Riders are storage keys (hashes of slots) of the account at Key, wanted together with it:
	// a server finds them without being told the storage root, which is not known before the
	// account is here. They are hints: a source need not bring them.
	Riders []common.Hash
}

// Account is the hash that Key spells: of the account that riders belong to, where the fault is one of the account trie.
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

// Source answers faults. Both methods block until the blob is here and verified,
// or ctx ends, or it is known that it cannot be had ([ErrUnavailable], wrapped).
// A source may deliver more than it was asked for into the stores that it feeds:
// the nodes below Fault.Path on the way to Fault.Key above all.
type Source interface {
	FetchNode(ctx context.Context, f Fault) ([]byte, error)
	FetchCode(ctx context.Context, hash common.Hash) ([]byte, error)
}

// Store looks nodes and codes up locally. A miss is (nil, nil); an error means
// that the store itself is broken. What it returns has the wanted hash: a store on
// disk stands behind a [Cache], which checks that. Callers must not modify what they get.
type Store interface {
	Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error)
	Code(hash common.Hash) ([]byte, error)
}

// Sink keeps verified nodes and codes. It may drop them again (a cache), and it
// must not keep references to Path.
type Sink interface {
	PutNodes(nodes []Node) error
	PutCode(hash common.Hash, code []byte) error
}

// Local is a store that can be filled.
type Local interface {
	Store
	Sink
}
