// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"maps"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// stateStore is a CompleteStore and its writer in memory, without flat state.
type stateStore struct {
	source *stateSource // has the codes
	mu     sync.Mutex
	nodes  map[string][]byte
}

func (m *stateStore) Node(owner common.Hash, path []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[pathKey(owner, path)], nil
}

func (m *stateStore) NextNode(owner common.Hash, from []byte) (path []byte, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.nodes {
		if at[:32] == string(owner[:]) && at >= pathKey(owner, from) && (!ok || at[32:] < string(path)) {
			path, ok = []byte(at[32:]), true
		}
	}
	return path, ok, nil
}

func (m *stateStore) NextOwner(from common.Hash) (owner common.Hash, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := range m.nodes {
		if key := common.Hash([]byte(at[:32])); key != (common.Hash{}) && key.Cmp(from) >= 0 && (!ok || key.Cmp(owner) < 0) {
			owner, ok = key, true
		}
	}
	return owner, ok, nil
}

func (m *stateStore) NextLeaf(common.Hash, common.Hash) (common.Hash, bool, error) {
	return common.Hash{}, false, nil
}

func (m *stateStore) PutLeaf(common.Hash, common.Hash, []byte) error { return nil }

func (m *stateStore) DeleteLeaf(common.Hash, common.Hash) error { return nil }

func (m *stateStore) DeleteLeaves(common.Hash, common.Hash, common.Hash) error { return nil }

func (m *stateStore) HasCode(hash common.Hash) (bool, error) {
	code, err := m.source.Code(hash)
	return len(code) > 0, err
}

func (m *stateStore) Put(owner common.Hash, path, blob []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[pathKey(owner, path)] = blob
	return nil
}

func (m *stateStore) Delete(owner common.Hash, path []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.nodes, pathKey(owner, path))
	return nil
}

func (m *stateStore) DeleteNodes(owner common.Hash, from, to []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.nodes, func(at string, _ []byte) bool {
		return at[:32] == string(owner[:]) && at[32:] >= string(from) && at[32:] < string(to)
	})
	return nil
}

func (*stateStore) Large(common.Hash) {}

func (m *stateStore) DeleteOwner(owner common.Hash) error {
	return m.DeleteNodes(owner, nil, []byte{16})
}

func (m *stateStore) Flush() error { return nil }

// subtree returns the leaves below a node as swarm peers serve them.
func (m *stateStore) subtree(want trie.NodeRef, maxBytes int) (keys []common.Hash, values, proof [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if crypto.Keccak256Hash(m.nodes[pathKey(want.Owner, want.Path)]) != want.Hash {
		return nil, nil, nil
	}
	var walk func(path, blob []byte) bool
	walk = func(path, blob []byte) bool {
		children, err := trie.Children(blob)
		if err != nil {
			panic(err)
		}
		for _, c := range children {
			at := slices.Concat(path, c.Path)
			if c.Value == nil {
				if !walk(at, m.nodes[pathKey(want.Owner, at)]) {
					return false
				}
				continue
			}
			if maxBytes < 0 {
				return false
			}
			key, _ := trie.KeyRange(at)
			keys, values = append(keys, key), append(values, c.Value)
			maxBytes -= common.HashLength + len(c.Value)
		}
		return true
	}
	if !walk(want.Path, m.nodes[pathKey(want.Owner, want.Path)]) {
		proof = prove(m.nodes, want.Owner, want.Path, keys[len(keys)-1], nil)
	}
	return keys, values, proof
}
