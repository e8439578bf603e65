// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/triedb"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Leaves returns the flat state under root. It is available at once, or once go-ethereum has derived it from the
// tries ([Full.FlatProgress]).
func (f *Full) Leaves(root common.Hash) trie.FlatState { return flatState{f.tdb, root} }

// flatState reads the flat state of Full.
type flatState struct {
	tdb  *triedb.Database
	root common.Hash
}

// Leaves implements trie.FlatState. The iterators reuse their buffers.
func (f flatState) Leaves(owner, origin common.Hash, each func(key common.Hash, value []byte) bool) (done bool) {
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
