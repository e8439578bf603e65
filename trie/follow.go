// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
)

// Follow verifies a set of blobs against a wanted node, from the parent down. It takes from blobs
// (keyed by their keccak256) the node with the wanted hash, reads from it the hash of the next
// node on the path to key, and so on until a node is not in the set.
//
// It returns the proved nodes, the wanted one first; none if the wanted hash is not in the set.
// With a key that is nil or does not start with path it looks for the wanted node only. key may be
// a prefix of a key. The order of the blobs in a response does not matter: an embedded node shifts
// positions, and a limit cuts the response.
func Follow(owner common.Hash, path []byte, hash common.Hash, key []byte, blobs map[common.Hash][]byte) []Node {
	var nodes []Node
	if !bytes.HasPrefix(key, path) {
		key = nil
	}
	path = bytes.Clone(path)
	for {
		blob, ok := blobs[hash]
		if !ok {
			return nodes
		}
		nodes = append(nodes, Node{Owner: owner, Path: path, Hash: hash, Blob: blob})
		if len(path) >= len(key) {
			return nodes
		}
		step, err := Descend(blob, key[len(path):])
		if err != nil || step.Kind != StepChild {
			return nodes
		}
		depth := len(path) + step.Depth
		path, hash = bytes.Clone(key[:depth]), step.Hash
	}
}
