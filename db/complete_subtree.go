// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Subtree returns the leaves below the node at a path of a trie if that node has this hash, and no keys
// otherwise. They are read from a snapshot, so concurrent writes do not matter. Leaves are counted
// with their keys; the one that exceeds maxBytes is the last. If more follow, proof has the nodes
// on the path from the top node to the last leaf.
func (s *Complete) Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte, err error) {
	prefix := nodePrefix(owner)
	it := s.disk.NewIterator(prefix, path) // of a snapshot
	defer it.Release()
	type entry struct {
		path  []byte
		hash  common.Hash // of a node
		value []byte      // of a leaf in its parent node; nil: a node
	}
	var (
		next = []entry{{path: path, hash: hash}} // a stack: the last one is the next key
		line []trie.Node                         // the nodes from the top down to the last one read
		size int
	)
	for len(next) > 0 {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		for len(line) > 0 && !bytes.HasPrefix(at.path, line[len(line)-1].Path) {
			line = line[:len(line)-1]
		}
		if at.value != nil {
			if len(at.path) != trie.KeyLen {
				return nil, nil, nil, nil // not the trie of a state
			}
			key, _ := trie.KeyRange(at.path)
			keys, values = append(keys, key), append(values, at.value)
			if size += len(key) + len(at.value); size > maxBytes && len(next) > 0 {
				for _, node := range line {
					proof = append(proof, node.Blob)
				}
				return keys, values, proof, nil
			}
			continue
		}
		// A complete subtree is stored in the order of this walk, without other keys in between.
		if !it.Next() || !bytes.Equal(it.Key()[len(prefix):], at.path) {
			return nil, nil, nil, s.check(it)
		}
		blob := bytes.Clone(it.Value())
		if crypto.Keccak256Hash(blob) != at.hash {
			return nil, nil, nil, nil // another node, or a corrupt one below: the receiver would take it for a lie
		}
		children, err := trie.Children(blob)
		if err != nil {
			return nil, nil, nil, nil
		}
		line = append(line, trie.Node{Path: at.path, Blob: blob})
		for _, c := range slices.Backward(children) {
			next = append(next, entry{slices.Concat(at.path, c.Path), c.Hash, c.Value})
		}
	}
	return keys, values, nil, nil
}
