package node

import (
	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// served is the state that peers may ask us for: the part that is held locally. It never
// fetches.
type served struct{ *Node }

// State implements p2p.StateBackend.
func (s served) State(root common.Hash) p2p.State {
	var flat trie.FlatState
	if full := s.full(); full != nil && full.Has(root) {
		flat = full.Leaves(root)
	}
	if held := trie.OpenServed(trie.WithoutFill(s.stateAt(root)), flat, root); held != nil {
		return held
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

// Data implements p2p.DataBackend: what the memory cache and Hot have, and codes; beyond that, what
// Solid or a full node's states have at a place that an answer before this one led to.
func (s served) Data(hash common.Hash) []byte {
	at, known := s.places.Lookup(hash)
	if !known && s.begins(hash) {
		at, known = trie.NodePath{Root: hash}, true
	}
	store := trie.WithoutFill(s.stateAt(at.Root))
	blob, err := store.Node(at.Owner, []byte(at.Path), hash)
	if err != nil || len(blob) == 0 {
		return s.Code(hash)
	}
	if known {
		s.places.AddChildren(at, blob)
	}
	return blob
}

// begins says whether a hash is the root of a state that we stand on.
func (s served) begins(hash common.Hash) bool {
	if full := s.full(); full != nil && full.Has(hash) {
		return true
	}
	return s.chain.CurrentHeader().Root == hash
}
