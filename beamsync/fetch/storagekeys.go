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

// ridersCost is the part of the cost that riders have.
func (w *want) ridersCost() int {
	if len(w.fault.StorageKeys) == 0 {
		return 0
	}
	n := storageSetCost + w.riderDepth + 1
	riders := slices.SortedFunc(slices.Values(w.fault.StorageKeys), common.Hash.Cmp)
	for i, key := range riders[1:] {
		shared := 0
		for a, b := trie.Nibbles(key), trie.Nibbles(riders[i]); shared < w.riderDepth && a[shared] == b[shared]; shared++ {
		}
		n += w.riderDepth - shared
	}
	return n
}

// ride finds what came of the storage keys that rode along with an account, whose value gives
// the storage root.
func (d *delivery) ride(a *ask, value []byte, bag map[common.Hash][]byte, local trie.Local) (ridden []trie.Node, err error) {
	var account types.StateAccount
	if value == nil || rlp.DecodeBytes(value, &account) != nil || account.Root == types.EmptyRootHash {
		return nil, nil //nolint:nilerr // a value that is no account is for its reader to find
	}
	owner := a.owner()
	for _, key := range a.fault.StorageKeys {
		rider := ask{depth: a.riderDepth, target: target{kind: sched.Node, fault: trie.Fault{
			Root: a.fault.Root, Owner: owner, Hash: account.Root, Key: trie.Nibbles(key),
		}}}
		nodes := trie.Follow(owner, nil, account.Root, rider.fault.Key, bag)
		of := delivery{owner: owner}
		if len(nodes) == 0 {
			blob, err := local.Node(owner, nil, account.Root)
			if err != nil {
				return nil, fmt.Errorf("trie nodes: %w", err)
			}
			if blob == nil { // the peer lacks all of it, or the reply was cut before it
				of.next = &rider.fault
				d.riders = append(d.riders, of)
				continue
			}
			nodes = []trie.Node{{Owner: owner, Hash: account.Root, Blob: blob}}
		}
		if _, err := of.follow(&rider, nodes, local); err != nil {
			return nil, err
		}
		ridden = append(ridden, nodes...)
		d.riders = append(d.riders, of)
	}
	return ridden, nil
}

// owner is the account whose storage the riders are.
func (t *target) owner() (owner common.Hash) {
	for i := range owner {
		owner[i] = t.fault.Key[2*i]<<4 | t.fault.Key[2*i+1]
	}
	return owner
}
