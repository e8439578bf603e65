package trie

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
)

// Follow verifies a bag of blobs against a wanted node, from the parent down.
// Starting with the node at path whose hash is known, it takes from blobs (keyed by
// their keccak256) the node with that hash, learns from it the hash of the next one
// on the way to key, and so on as far as the bag reaches.
//
// It returns the proved nodes, the wanted one first; none if the wanted hash is not
// in the bag. With a key that is nil or does not start with path, only the wanted
// node is looked for. key may be a part of a key. The order and the positions of the blobs in a
// reply play no role: an embedded node shifts them, a limit cuts them.
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
