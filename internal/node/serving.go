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
	var flat trie.Flat
	if full := s.states.full.Load(); full != nil && full.Has(root) {
		flat = full.Leaves(root)
	}
	if held := trie.Hold(trie.Passing(s.stateAt(root)), flat, root); held != nil {
		return held
	}
	return nil
}

// Code implements p2p.StateBackend.
func (s served) Code(hash common.Hash) []byte {
	code, err := trie.Passing(s.local).Code(hash)
	if err != nil {
		return nil
	}
	return code
}

// Data implements p2p.DataBackend: what the memory cache and Hot have, and codes. Solid knows
// nodes by their paths only; for these there is State.
func (s served) Data(hash common.Hash) []byte {
	blob, err := trie.Passing(s.local).Node(common.Hash{}, nil, hash)
	if err == nil && len(blob) > 0 {
		return blob
	}
	return s.Code(hash)
}
