package node

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// served is the state that peers may ask us for: the nodes held locally, found from the
// root down, so that only true and reachable ones are given away. It never fetches.
type served struct{ local trie.Store }

// HasRoot implements p2p.StateBackend.
func (s served) HasRoot(root common.Hash) bool {
	blob, err := s.local.Node(common.Hash{}, nil, root)
	return err == nil && blob != nil
}

// TrieNode implements p2p.StateBackend.
func (s served) TrieNode(root, owner common.Hash, path []byte) []byte {
	if owner == (common.Hash{}) {
		blob, _ := s.descend(root, owner, path)
		return blob
	}
	_, value := s.descend(root, common.Hash{}, trie.Nibbles(owner))
	var account types.StateAccount
	if value == nil || rlp.DecodeBytes(value, &account) != nil || account.Root == types.EmptyRootHash {
		return nil
	}
	blob, _ := s.descend(account.Root, owner, path)
	return blob
}

// descend walks from a trie's root along path. It returns the node that is exactly there,
// if there is one that is held, or the value, if path is a whole key.
func (s served) descend(hash, owner common.Hash, path []byte) (blob, value []byte) {
	for at := 0; ; {
		blob, err := s.local.Node(owner, path[:at], hash)
		if err != nil || blob == nil {
			return nil, nil
		}
		if at == len(path) {
			return blob, nil
		}
		step, err := trie.Descend(blob, path[at:])
		switch {
		case err != nil:
			return nil, nil
		case step.Kind == trie.StepValue:
			return nil, step.Value
		case step.Kind != trie.StepChild:
			return nil, nil
		}
		at, hash = at+step.Depth, step.Hash
	}
}

// Code implements p2p.StateBackend.
func (s served) Code(hash common.Hash) []byte {
	code, err := s.local.Code(hash)
	if err != nil {
		return nil
	}
	return code
}
