// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	gethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// testState is a whole state with storage and codes.
type testState struct {
	root  common.Hash
	tries map[common.Hash]*leafTrie // by owner
	codes map[common.Hash][]byte
	nodes map[string][]byte // of all tries, by owner and path
}

type leafTrie struct {
	owner, root common.Hash
	keys        []common.Hash
	values      [][]byte
}

func numbered(n uint64, salt byte) common.Hash {
	return crypto.Keccak256Hash(append(binary.BigEndian.AppendUint64(nil, n), salt))
}

// newTestState makes a state of accounts. The first one has a storage trie of the largest size, every
// tenth one a small one, and every hundredth one code. The first changed accounts have another nonce.
func newTestState(accounts, largest, changed int) *testState {
	s := &testState{tries: make(map[common.Hash]*leafTrie), codes: make(map[common.Hash][]byte), nodes: make(map[string][]byte)}
	leaves := make(map[common.Hash][]byte)
	for i := range accounts {
		key := numbered(uint64(i), 0)
		account := types.StateAccount{Balance: uint256.NewInt(uint64(i)), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
		if i < changed {
			account.Nonce = 1
		}
		slots := 0
		if i == 0 {
			slots = largest
		} else if i%10 == 0 {
			slots = 1 + i%7
		}
		if slots > 0 {
			account.Root = s.add(key, slotsOf(slots)).root
		}
		if i%100 == 0 {
			code := bytes.Repeat([]byte{byte(i / 100)}, 2000)
			account.CodeHash = crypto.Keccak256(code)
			s.codes[common.Hash(account.CodeHash)] = code
		}
		leaves[key], _ = rlp.EncodeToBytes(&account)
	}
	s.root = s.add(common.Hash{}, leaves).root
	return s
}

func slotsOf(n int) map[common.Hash][]byte {
	slots := make(map[common.Hash][]byte, n)
	for i := range n {
		slots[numbered(uint64(i), 1)] = append([]byte{0xa0}, numbered(uint64(i), 2).Bytes()...)
	}
	return slots
}

func (s *testState) add(owner common.Hash, leaves map[common.Hash][]byte) *leafTrie {
	t := &leafTrie{owner: owner, keys: slices.SortedFunc(maps.Keys(leaves), common.Hash.Cmp)}
	st := gethtrie.NewStackTrie(func(path []byte, _ common.Hash, blob []byte) { s.nodes[pathKey(owner, path)] = bytes.Clone(blob) })
	for _, key := range t.keys {
		t.values = append(t.values, leaves[key])
		if st.Update(key[:], leaves[key]) != nil {
			panic("unsorted")
		}
	}
	t.root = st.Hash()
	s.tries[owner] = t
	return t
}

func pathKey(owner common.Hash, path []byte) string { return string(owner[:]) + string(path) }

// serve returns a range as go-ethereum does.
func (s *testState) serve(owner, origin, limit common.Hash, size *int) (keys []common.Hash, values, proof [][]byte) {
	t := s.tries[owner]
	if t == nil {
		return nil, nil, nil
	}
	from, _ := slices.BinarySearchFunc(t.keys, origin, common.Hash.Cmp)
	to := from
	for to < len(t.keys) && *size >= 0 && (to == from || t.keys[to-1].Cmp(limit) < 0) {
		*size -= common.HashLength + len(t.values[to])
		to++
	}
	if owner == (common.Hash{}) || from > 0 || to < len(t.keys) {
		proof = prove(s.nodes, owner, nil, origin, nil)
		if to > from {
			proof = prove(s.nodes, owner, nil, t.keys[to-1], proof)
		}
	}
	return t.keys[from:to], t.values[from:to], proof
}

// prove returns the nodes from a path down to a key.
func prove(nodes map[string][]byte, owner common.Hash, path []byte, key common.Hash, proof [][]byte) [][]byte {
	nibbles := trie.Nibbles(key)
	for depth := len(path); ; {
		blob := nodes[pathKey(owner, nibbles[:depth])]
		proof = append(proof, blob)
		step, err := trie.Descend(blob, nibbles[depth:])
		if err != nil || step.Kind != trie.StepChild {
			return proof
		}
		depth += step.Depth
	}
}
