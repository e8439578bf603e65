// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
)

// The size of an index is bounded, to about 40 MB. A walk by hash with a few requests in flight has
// fewer than maxPendingPaths nodes that are known and not yet requested.
const (
	maxPendingPaths = 1 << 17
	maxServedPaths  = 1 << 15
)

// NodePath is the position of a node in a state.
type NodePath struct {
	Root  common.Hash // of the state
	Owner common.Hash // account hash for a storage trie, zero for the account trie
	Path  string      // nibbles, one per byte
}

// PathIndex maps node hashes to paths, for stores that find nodes by path only. A peer that requests a
// node by hash has received its parent before, or knows a state root. So the index need have only the
// children of nodes that were requested. It is safe for concurrent use.
type PathIndex struct {
	// pending has the nodes that were not requested yet, served those that were; they stay for other
	// peers. They are two caches because a depth-first walk, as geth's scheduler does it, requests
	// last what it learnt first: served nodes must not evict pending ones.
	pending, served *lru.Cache[common.Hash, NodePath]
}

// NewPathIndex returns an empty index.
func NewPathIndex() *PathIndex { return newPathIndex(maxPendingPaths, maxServedPaths) }

func newPathIndex(pending, served int) *PathIndex {
	return &PathIndex{lru.NewCache[common.Hash, NodePath](pending), lru.NewCache[common.Hash, NodePath](served)}
}

// Lookup returns the path at which a requested node may be.
func (p *PathIndex) Lookup(hash common.Hash) (NodePath, bool) {
	at, pending := p.pending.Get(hash)
	if !pending {
		return p.served.Get(hash)
	}
	p.served.Add(hash, at) // first, so that it is always in one of the two
	p.pending.Remove(hash)
	return at, true
}

// AddChildren adds what a node refers to: its child nodes, and the storage roots of accounts in it. A
// malformed blob adds nothing.
func (p *PathIndex) AddChildren(at NodePath, blob []byte) {
	children, err := Children(blob)
	if err != nil {
		return
	}
	for _, c := range children {
		path := at.Path + string(c.Path)
		if c.Value == nil {
			p.pending.Add(c.Hash, NodePath{at.Root, at.Owner, path})
			continue
		}
		if at.Owner != (common.Hash{}) || len(path) != KeyLen {
			continue
		}
		key, _ := KeyRange([]byte(path))
		if account, err := decodeAccount(key, c.Value); err == nil && account.Storage != (common.Hash{}) {
			p.pending.Add(account.Storage, NodePath{Root: at.Root, Owner: key})
		}
	}
}
