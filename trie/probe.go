package trie

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Probe looks for a key's value as far as the store goes. If a node is missing on the way, it
// returns the fault that would go on from there. Nothing is fetched.
func Probe(store Store, stateRoot, owner, root, key common.Hash) (value []byte, missing *Fault, err error) {
	if root == types.EmptyRootHash || root == (common.Hash{}) {
		return nil, nil, nil
	}
	return probe(store, &Fault{Root: stateRoot, Owner: owner, Hash: root, Key: Nibbles(key)})
}

// Mended says whether the node that was missing is held by now, and all on the way to the key with it.
func (f *Fault) Mended(store Store) (bool, error) {
	if f.Key == nil {
		blob, err := store.Node(f.Owner, f.Path, f.Hash)
		return len(blob) > 0, err
	}
	_, missing, err := probe(store, f)
	return missing == nil && err == nil, err
}

// probe goes on from a fault.
func probe(store Store, from *Fault) (value []byte, missing *Fault, err error) {
	owner, nibbles := from.Owner, from.Key
	for depth, hash := len(from.Path), from.Hash; ; {
		blob, err := store.Node(owner, nibbles[:depth:depth], hash)
		if err != nil {
			return nil, nil, fmt.Errorf("read trie node %x at %x of %x: %w", hash, nibbles[:depth], owner, err)
		}
		if len(blob) == 0 {
			return nil, &Fault{Root: from.Root, Owner: owner, Path: nibbles[:depth:depth], Hash: hash, Key: nibbles}, nil
		}
		step, err := Descend(blob, nibbles[depth:])
		if err != nil {
			return nil, nil, fmt.Errorf("trie node %x at %x of %x: %w", hash, nibbles[:depth], owner, err)
		}
		if step.Kind != StepChild {
			return step.Value, nil, nil
		}
		depth, hash = depth+step.Depth, step.Hash
	}
}
