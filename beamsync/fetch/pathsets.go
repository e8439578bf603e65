// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// pathSets names all that the wants are for, once each, as GetTrieNodes wants it, and
// says how many paths these are. Account trie paths are sets of their own; all storage
// paths of a contract are one set. Parents come before their children; in a storage set
// even all short paths come before longer ones, because a node that is embedded in its
// parent, which happens deep down, ends the set.
func pathSets(wants []wireWant) (sets [][][]byte, paths int) {
	var (
		seen    = make(map[common.Hash]map[string]bool)
		owners  []common.Hash
		storage = make(map[common.Hash][][]byte)
	)
	name := func(owner common.Hash, path []byte) {
		if seen[owner] == nil {
			seen[owner] = make(map[string]bool)
			if owner != (common.Hash{}) {
				owners = append(owners, owner)
			}
		}
		if seen[owner][string(path)] {
			return
		}
		seen[owner][string(path)] = true
		paths++
		if owner == (common.Hash{}) {
			sets = append(sets, [][]byte{trie.EncodePath(path)})
		} else {
			storage[owner] = append(storage[owner], path)
		}
	}
	for i := range wants {
		a := &wants[i]
		for n := len(a.fault.Path); n <= a.depth; n++ {
			name(a.fault.Owner, a.prefix(n))
		}
		for _, key := range a.fault.StorageKeys {
			nibbles, owner := trie.Nibbles(key), a.owner()
			for n := range a.storageKeyDepth + 1 {
				name(owner, nibbles[:n])
			}
		}
	}
	for _, owner := range owners {
		set := [][]byte{owner.Bytes()}
		slices.SortStableFunc(storage[owner], func(a, b []byte) int { return len(a) - len(b) })
		for _, path := range storage[owner] {
			set = append(set, trie.EncodePath(path))
		}
		sets = append(sets, set)
	}
	return sets, paths
}

// nibbleString writes a path with one hex digit per nibble.
func nibbleString(path []byte) string {
	var s strings.Builder
	for _, n := range path {
		fmt.Fprintf(&s, "%x", n)
	}
	return s.String()
}
