// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"iter"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// clear deletes what the store has below an item and the node does not refer to (rules 4 and 5 of the package comment):
// nodes between its children, the leaves there, and then, in the account trie, the storage of accounts that do not exist.
func (w *Walker) clear(it *item, children []Child, old *previous) error {
	if it.empty {
		return w.clearAccounts(it, children, old)
	}
	for from, to := range gaps(it.Path, children, false) {
		if !old.nodesWithin(from, to) {
			continue
		}
		if err := w.cfg.Writer.DeleteNodes(it.Owner, from, to); err != nil {
			return err
		}
		if first, last, ok := keysBetween(from, to); ok {
			if err := w.cfg.Writer.DeleteLeaves(it.Owner, first, last); err != nil {
				return err
			}
		}
	}
	for key, c := range old.values() {
		if !slices.ContainsFunc(children, func(now Child) bool { return now.Value != nil && bytes.Equal(now.Path, c.Path) }) {
			if err := w.cfg.Writer.DeleteLeaf(it.Owner, key); err != nil {
				return err
			}
		}
	}
	return w.clearAccounts(it, children, old)
}

// clearAccounts deletes the storage of accounts below an item that do not exist any more.
func (w *Walker) clearAccounts(it *item, children []Child, old *previous) error {
	if !it.account() || it.noStorage {
		return nil
	}
	for from, to := range gaps(it.Path, children, true) {
		if old.nodesWithin(from, to) {
			if err := w.clearStorage(from, to); err != nil {
				return err
			}
			continue
		}
		for key, c := range old.values() {
			if path := slices.Concat(it.Path, c.Path); bytes.Compare(path, from) < 0 || bytes.Compare(path, to) >= 0 {
				continue
			}
			had, err := decodeAccount(key, c.Value)
			if err == nil && had.Storage != (common.Hash{}) {
				err = w.cfg.Writer.DeleteOwner(key)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// gaps returns the ranges of paths below a node in which it has no child, from one path up to another, which is excluded. A value
// is a child of its own if values says so, otherwise it is in a gap: there is no node for it.
func gaps(path []byte, children []Child, values bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(from, to []byte) bool) {
		from := append(slices.Clone(path), 0)
		for _, c := range children {
			if c.Value != nil && !values {
				continue
			}
			to := slices.Concat(path, c.Path)
			if bytes.Compare(from, to) < 0 && !yield(from, to) {
				return
			}
			from = after(to)
		}
		if to := after(path); bytes.Compare(from, to) < 0 {
			yield(from, to)
		}
	}
}

// after is the end of the subtree at path, in the order of paths.
func after(path []byte) []byte {
	if len(path) == 0 {
		return []byte{16}
	}
	end := slices.Clone(path)
	end[len(end)-1]++
	return end
}

// clearOrphans deletes the storage of accounts under a path that are not among those given,
// which are in the order of their keys, or have none.
func (w *Walker) clearOrphans(path []byte, accounts []Account) error {
	from := append(slices.Clone(path), 0)
	for _, a := range accounts {
		if a.Storage == (common.Hash{}) {
			continue
		}
		key := Nibbles(a.Key)
		if err := w.clearStorage(from, key); err != nil {
			return err
		}
		from = after(key)
	}
	return w.clearStorage(from, after(path))
}

// clearStorage deletes the storage of the accounts whose paths are from one path up to
// another, which is excluded.
func (w *Walker) clearStorage(from, to []byte) error {
	owner, ok := lowest(from)
	for ok {
		next, found, err := w.cfg.Complete.NextOwner(owner)
		if err != nil {
			return err
		}
		if !found || bytes.Compare(Nibbles(next), to) >= 0 {
			return nil
		}
		if err := w.cfg.Writer.DeleteOwner(next); err != nil {
			return err
		}
		owner, ok = increment(next)
	}
	return nil
}

// lowest is the first key at or after a path whose last nibble may be 16; ok is false if
// there is none.
func lowest(path []byte) (key common.Hash, ok bool) {
	if n := len(path); n > 0 && path[n-1] == 16 { // after all keys with the prefix before it
		_, last := KeyRange(path[:n-1])
		return increment(last)
	}
	first, _ := KeyRange(path[:min(len(path), KeyLen)])
	return first, true
}

// keysBetween returns the first and the last key whose paths are from one path up to another, which is excluded; ok is false
// if there is none.
func keysBetween(from, to []byte) (first, last common.Hash, ok bool) {
	if first, ok = lowest(from); !ok {
		return common.Hash{}, common.Hash{}, false
	}
	end, more := lowest(to)
	if !more {
		return first, common.MaxHash, true
	}
	if end.Cmp(first) <= 0 {
		return common.Hash{}, common.Hash{}, false
	}
	for i := len(end) - 1; ; i-- {
		end[i]--
		if end[i] != 0xff {
			return first, end, true
		}
	}
}

// increment returns key+1; ok is false if there is none.
func increment(key common.Hash) (common.Hash, bool) {
	for i := len(key) - 1; i >= 0; i-- {
		key[i]++
		if key[i] != 0 {
			return key, true
		}
	}
	return key, false
}
