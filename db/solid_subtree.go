package db

import (
	"bytes"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Subtree returns the leaves under the node at a path of a trie, if that node has this hash; no
// keys if it has not. They are of one moment, whatever is written meanwhile, and there are no
// more of them than one beyond maxBytes, counted with their keys. If more follow, proof has
// the nodes on the way from there to the last leaf.
func (s *Solid) Subtree(owner common.Hash, path []byte, hash common.Hash, maxBytes int) (keys []common.Hash, values, proof [][]byte, err error) {
	prefix := solidPrefix(owner)
	it := s.disk.NewIterator(prefix, path) // of a snapshot
	defer it.Release()
	type place struct {
		path  []byte
		value []byte // of a leaf within the node above; nil: a node
	}
	var (
		next = []place{{path: path}} // in the order of the keys, last one first
		line []trie.Node             // from the first node to the last one that was met
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
			key, _ := trie.Span(at.path)
			keys, values = append(keys, key), append(values, at.value)
			if size += len(key) + len(at.value); size > maxBytes && len(next) > 0 {
				for _, node := range line {
					proof = append(proof, node.Blob)
				}
				return keys, values, proof, nil
			}
			continue
		}
		// What is complete is stored in the order of this walk, and nothing is in between.
		if !it.Next() || !bytes.Equal(it.Key()[len(prefix):], at.path) {
			return nil, nil, nil, s.check(it)
		}
		blob := bytes.Clone(it.Value())
		if len(line) == 0 && crypto.Keccak256Hash(blob) != hash {
			return nil, nil, nil, nil
		}
		children, err := trie.Children(blob)
		if err != nil {
			return nil, nil, nil, nil // a rotten node is no node
		}
		line = append(line, trie.Node{Path: at.path, Blob: blob})
		for _, c := range slices.Backward(children) {
			next = append(next, place{slices.Concat(at.path, c.Path), c.Value})
		}
	}
	return keys, values, nil, nil
}
