// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Lookup reads the value of a key from the store. If a node on the path is missing, it returns the
// fault for that node. It fetches nothing.
func Lookup(store Store, stateRoot, owner, root, key common.Hash) (value []byte, missing *Fault, err error) {
	if root == types.EmptyRootHash || root == (common.Hash{}) {
		return nil, nil, nil
	}
	return lookupFrom(store, &Fault{Root: stateRoot, Owner: owner, Hash: root, Key: Nibbles(key)})
}

// Resolved says whether the missing node is in the store now, with all other nodes on the path to the key.
func (f *Fault) Resolved(store Store) (bool, error) {
	if f.Key == nil {
		blob, err := store.Node(f.Owner, f.Path, f.Hash)
		return len(blob) > 0, err
	}
	_, missing, err := lookupFrom(store, f)
	return missing == nil && err == nil, err
}

// lookupFrom continues a lookup at the node of a fault.
func lookupFrom(store Store, from *Fault) (value []byte, missing *Fault, err error) {
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
