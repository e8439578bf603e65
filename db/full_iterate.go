// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// verifiedState iterates over one state by its tries, whose nodes are compared with their hashes. go-ethereum's own iterators read the flat
// state: a block before Cancun that destroys a contract could not be committed if one of its flat slots were damaged.
type verifiedState struct {
	store trie.Store
	root  common.Hash
}

var _ state.Iteratee = verifiedState{}

// NewAccountIterator implements state.Iteratee and always fails: only dumps call it.
func (v verifiedState) NewAccountIterator(common.Hash) (state.AccountIterator, error) {
	return nil, errors.ErrUnsupported
}

// NewStorageIterator implements state.Iteratee. StateDB keeps all slots in memory, so they are read at once.
func (v verifiedState) NewStorageIterator(owner, start common.Hash) (state.StorageIterator, error) {
	served := trie.OpenServed(v.store, nil, v.root)
	if served == nil {
		return nil, fmt.Errorf("state %x: %w", v.root, trie.ErrUnavailable)
	}
	it := new(slotIterator)
	var malformed error
	done := served.Leaves(owner, start, func(key common.Hash, value []byte) bool {
		_, content, _, err := rlp.Split(value)
		malformed = err
		it.slots = append(it.slots, slot{key, common.BytesToHash(content)})
		return err == nil
	})
	if malformed != nil || !done {
		return nil, fmt.Errorf("storage of account %x: %w", owner, trie.ErrDamaged)
	}
	return it, nil
}

type slot struct{ key, value common.Hash }

// slotIterator is a state.StorageIterator over slots in memory.
type slotIterator struct {
	slots []slot
	at    int // the current one and one
}

func (it *slotIterator) Next() bool {
	it.at++
	return it.at <= len(it.slots)
}

func (it *slotIterator) Hash() common.Hash         { return it.slots[it.at-1].key }
func (it *slotIterator) Slot() common.Hash         { return it.slots[it.at-1].value }
func (it *slotIterator) Key() (common.Hash, error) { return common.Hash{}, errors.ErrUnsupported }
func (it *slotIterator) Error() error              { return nil }
func (it *slotIterator) Release()                  {}
