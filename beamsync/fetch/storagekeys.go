// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch

import (
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// storageKeysCost is the part of the cost that storage keys have.
func (w *want) storageKeysCost() int {
	if len(w.fault.StorageKeys) == 0 {
		return 0
	}
	n := storageSetCost + w.storageKeyDepth + 1
	keys := slices.SortedFunc(slices.Values(w.fault.StorageKeys), common.Hash.Cmp)
	for i, key := range keys[1:] {
		shared := 0
		for a, b := trie.Nibbles(key), trie.Nibbles(keys[i]); shared < w.storageKeyDepth && a[shared] == b[shared]; shared++ {
		}
		n += w.storageKeyDepth - shared
	}
	return n
}

// followStorageKeys finds what came for the storage keys that were requested together with an
// account. The account's value gives the storage root. It returns the storage nodes.
func (d *delivery) followStorageKeys(w *wireWant, value []byte, blobs map[common.Hash][]byte, local trie.Local) (storage []trie.Node, err error) {
	var account types.StateAccount
	if value == nil || rlp.DecodeBytes(value, &account) != nil || account.Root == types.EmptyRootHash {
		return nil, nil //nolint:nilerr // the reader of the account reports a malformed value
	}
	owner := w.owner()
	for _, key := range w.fault.StorageKeys {
		slot := wireWant{depth: w.storageKeyDepth, target: target{kind: sched.Node, fault: trie.Fault{
			Root: w.fault.Root, Owner: owner, Hash: account.Root, Key: trie.Nibbles(key),
		}}}
		nodes := trie.Follow(owner, nil, account.Root, slot.fault.Key, blobs)
		of := delivery{owner: owner}
		if len(nodes) == 0 {
			blob, err := local.Node(owner, nil, account.Root)
			if err != nil {
				return nil, fmt.Errorf("trie nodes: %w", err)
			}
			if blob == nil { // the peer lacks all of it, or the reply was cut before it
				of.next = &slot.fault
				d.storage = append(d.storage, of)
				continue
			}
			nodes = []trie.Node{{Owner: owner, Hash: account.Root, Blob: blob}}
		}
		if _, err := of.follow(&slot, nodes, local); err != nil {
			return nil, err
		}
		storage = append(storage, nodes...)
		d.storage = append(d.storage, of)
	}
	return storage, nil
}

// owner is the account that the storage keys belong to.
func (t *target) owner() (owner common.Hash) {
	for i := range owner {
		owner[i] = t.fault.Key[2*i]<<4 | t.fault.Key[2*i+1]
	}
	return owner
}
