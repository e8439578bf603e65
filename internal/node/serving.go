// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// served is the state that peers may request: the local part of it. It never
// fetches.
type served struct {
	full    func() *db.Full // nil while beaming
	chain   *chain.Chain
	local   trie.Local
	stateAt func(root common.Hash) trie.Store
	paths   *trie.PathIndex
}

func (n *Node) served() served {
	return served{full: n.full, chain: n.chain, local: n.local, stateAt: n.stateAt, paths: n.places}
}

// State implements p2p.StateBackend.
func (s served) State(root common.Hash) p2p.State {
	var flat trie.FlatState
	if full := s.full(); full != nil && full.Has(root) {
		flat = full.Leaves(root)
	}
	if state := trie.OpenServed(trie.WithoutFill(s.stateAt(root)), flat, root); state != nil {
		return state
	}
	return nil
}

// Code implements p2p.StateBackend.
func (s served) Code(hash common.Hash) []byte {
	code, err := trie.WithoutFill(s.local).Code(hash)
	if err != nil {
		return nil
	}
	return code
}

// Data implements p2p.DataBackend. It finds what the memory cache and Hot have, and codes. It also finds nodes of the
// complete subtrees or of a full node's states whose path is known because their parents were served.
func (s served) Data(hash common.Hash) []byte {
	at, known := s.paths.Lookup(hash)
	if !known && s.isRoot(hash) {
		at, known = trie.NodePath{Root: hash}, true
	}
	store := trie.WithoutFill(s.stateAt(at.Root))
	blob, err := store.Node(at.Owner, []byte(at.Path), hash)
	if err != nil || len(blob) == 0 {
		return s.Code(hash)
	}
	if known {
		s.paths.AddChildren(at, blob)
	}
	return blob
}

// isRoot says whether a hash is the root of the head's state or of one that a full node has.
func (s served) isRoot(hash common.Hash) bool {
	if full := s.full(); full != nil && full.Has(hash) {
		return true
	}
	return s.chain.CurrentHeader().Root == hash
}
