package db

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Leaves goes through the leaves of a state without their trie: go-ethereum keeps them, once
// it has derived them from the tries ([Full.Flat]).
func (f *Full) Leaves(root common.Hash) trie.Flat { return flat{f.tdb, root} }

type flat struct {
	tdb  *triedb.Database
	root common.Hash
}

// Leaves implements trie.Flat. What the iterators return is theirs.
func (f flat) Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool) {
	if owner == (common.Hash{}) {
		it, err := f.tdb.AccountIterator(f.root, origin)
		if err != nil {
			return false // not derived yet, or the state is too old
		}
		defer it.Release()
		for it.Next() {
			if !each(it.Hash(), bytes.Clone(it.Account())) {
				return true
			}
		}
		return it.Error() == nil
	}
	it, err := f.tdb.StorageIterator(f.root, owner, origin)
	if err != nil {
		return false
	}
	defer it.Release()
	for it.Next() {
		if !each(it.Hash(), bytes.Clone(it.Slot())) {
			return true
		}
	}
	return it.Error() == nil
}
