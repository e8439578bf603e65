// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// target is what a want is for: a node with what lies below it on the way to a key, or
// a code.
type target struct {
	kind  sched.Kind
	fault trie.Fault  // kind Node
	code  common.Hash // kind Code
}

// wantKey tells wants apart: those with the same key are one.
type wantKey struct {
	root, owner, hash      common.Hash
	path, key, storageKeys string
}

func nodeTarget(fault trie.Fault) target { return target{kind: sched.Node, fault: fault} }

func codeTarget(hash common.Hash) target { return target{kind: sched.Code, code: hash} }

func (t *target) hash() common.Hash {
	if t.kind == sched.Code {
		return t.code
	}
	return t.fault.Hash
}

func (t *target) key() wantKey {
	var storageKeys strings.Builder
	for _, key := range t.fault.StorageKeys {
		storageKeys.Write(key[:])
	}
	return wantKey{t.fault.Root, t.fault.Owner, t.hash(), string(t.fault.Path), string(t.fault.Key), storageKeys.String()}
}

// prefix is the path of that many nibbles on the way to the key.
func (t *target) prefix(n int) []byte {
	if n <= len(t.fault.Path) {
		return t.fault.Path
	}
	return t.fault.Key[:n]
}

// cost estimates the lookups that the want adds to a request that holds the one before.
func (w *want) cost(before *want) int {
	if w.kind == sched.Code {
		return codeCost
	}
	n := w.depth - len(w.fault.Path) + 1
	if w.fault.Owner != (common.Hash{}) {
		n += storageSetCost
	}
	if before != nil && before.kind == sched.Node && before.fault.Owner == w.fault.Owner && before.fault.Root == w.fault.Root {
		shared := 0
		for shared < min(len(w.fault.Key), len(before.fault.Key)) && w.fault.Key[shared] == before.fault.Key[shared] {
			shared++
		}
		n = w.depth - max(len(w.fault.Path)-1, min(shared, before.depth))
	}
	return max(n, 1) + w.storageKeysCost()
}
