// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/trie"
)

func TestStorageOfOneContractIsOneSet(t *testing.T) {
	owner, root := common.Hash{1}, common.Hash{2}
	var asks []wireWant
	for i := range 50 {
		key := trie.Nibbles(crypto.Keccak256Hash([]byte{byte(i)}))
		asks = append(asks, wireWant{target: nodeTarget(trie.Fault{Root: root, Owner: owner, Key: key}), depth: 6})
		asks = append(asks, wireWant{target: nodeTarget(trie.Fault{Root: root, Key: key}), depth: 6})
	}
	sets, paths := pathSets(asks)
	count, seen, storage := 0, make(map[string]bool), 0
	for _, set := range sets {
		if len(set) == 1 {
			count++
			if seen[string(set[0])] {
				t.Fatal("an account path twice")
			}
			seen[string(set[0])] = true
			continue
		}
		storage++
		if !bytes.Equal(set[0], owner[:]) {
			t.Fatal("set of a foreign owner")
		}
		count += len(set) - 1
		if !slices.IsSortedFunc(set[1:], func(a, b []byte) int { return len(a) - len(b) }) {
			t.Error("longer paths before shorter ones")
		}
	}
	if storage != 1 || count != paths || paths%2 != 0 {
		t.Errorf("%d storage sets, %d paths, said %d", storage, count, paths)
	}
}
