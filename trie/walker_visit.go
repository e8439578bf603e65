// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"container/heap"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// visit looks up an item. It returns true if the item must be fetched. Otherwise the item is
// complete or its children are in the queue.
func (w *Walker) visit(it *item) (missing bool, err error) {
	if !it.visited {
		it.visited = true
		if complete, err := w.inspect(it); err != nil || complete {
			return false, err
		}
	}
	if it.ranged(w) || w.cfg.Local == nil {
		return true, nil
	}
	blob, err := w.cfg.Local.Node(it.Owner, it.Path, it.Hash)
	if err != nil || blob == nil {
		return true, err
	}
	return false, w.open(it, blob, nil)
}

// inspect compares an item with the node that the store has at its path, and deletes a node with another hash
// (rule 2 of the package comment).
func (w *Walker) inspect(it *item) (complete bool, err error) {
	if !it.empty {
		blob, err := w.cfg.Complete.Node(it.Owner, it.Path)
		if err != nil {
			return false, err
		}
		switch {
		case blob == nil:
			path, ok, err := w.cfg.Complete.NextNode(it.Owner, it.Path)
			if err != nil {
				return false, err
			}
			it.empty = !ok || !bytes.HasPrefix(path, it.Path)
		case hashOf(blob) == it.Hash:
			return true, w.keep(it)
		default:
			it.previous = blob
			if err := w.cfg.Writer.Delete(it.Owner, it.Path); err != nil {
				return false, err
			}
		}
	}
	if it.account() && !it.noStorage && it.previous == nil {
		first, last := KeyRange(it.Path)
		owner, ok, err := w.cfg.Complete.NextOwner(first)
		if err != nil {
			return false, err
		}
		it.noStorage = !ok || owner.Cmp(last) > 0
	}
	return false, nil
}

// keep counts an item that was complete before the walk.
func (w *Walker) keep(it *item) error {
	if it.account() {
		w.progress.Share += shareOf(it.Path)
		w.progress.Kept += shareOf(it.Path)
	}
	w.extent.learn(it, 0, 0, shareOf(it.Path))
	return w.settleAbove(it.parent, it)
}

// open turns an item whose node is known into a unit. Its children become items. Proved pieces of
// children are applied at once.
func (w *Walker) open(it *item, blob []byte, below []*Piece) error {
	children, err := Children(blob)
	if err != nil {
		return fmt.Errorf("node %x at path %x of owner %x: %w", it.Hash, it.Path, it.Owner, err)
	}
	old, err := newPrevious(it)
	if err != nil {
		return err
	}
	w.extent.opened(it, children)
	u := w.newUnit(it, []Node{{Owner: it.Owner, Path: it.Path, Hash: it.Hash, Blob: blob}})
	if err := w.clear(it, children, old); err != nil {
		return err
	}
	for _, c := range children {
		path := slices.Concat(it.Path, c.Path)
		if c.Value != nil {
			err = w.value(u, it, path, c.Value, old.value(c.Path))
		} else {
			child := w.newItem(item{
				NodeRef: NodeRef{Owner: it.Owner, Path: path, Hash: c.Hash}, parent: u, index: u.items,
				empty: it.empty, noStorage: it.noStorage, total: it.total,
			})
			u.items++
			u.pending++
			if len(below) > 0 && bytes.Equal(below[0].Path, path) {
				child.visited = true
				err = w.apply(child, below[0])
				below = below[1:]
			} else if old.has(c) {
				err = w.keep(child)
			} else {
				heap.Push(&w.queue, child)
			}
		}
		if err != nil {
			return err
		}
	}
	return w.settle(u)
}

// clear deletes what the store has below an item and the node does not refer to (rule 4 of the package comment):
// nodes between its children and then, in the account trie, the storage of accounts that do not exist.
func (w *Walker) clear(it *item, children []Child, old *previous) error {
	begin, end := append(slices.Clone(it.Path), 0), after(it.Path)
	if from := begin; !it.empty {
		for i := 0; i <= len(children); i++ {
			to := end
			if i < len(children) {
				if children[i].Value != nil {
					continue // no node of its own
				}
				to = slices.Concat(it.Path, children[i].Path)
			}
			if bytes.Compare(from, to) < 0 && old.within(from, to) {
				if err := w.cfg.Writer.DeleteNodes(it.Owner, from, to); err != nil {
					return err
				}
			}
			from = after(to)
		}
	}
	if !it.account() || it.noStorage {
		return nil
	}
	from := begin
	for _, c := range children {
		to := slices.Concat(it.Path, c.Path)
		if old.within(from, to) {
			if err := w.clearStorage(from, to); err != nil {
				return err
			}
		}
		from = after(to)
	}
	if !old.within(from, end) {
		return nil
	}
	return w.clearStorage(from, end)
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
	first, _ := KeyRange(path)
	return first, true
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

// value handles a leaf in an opened node. old is the value that the store had for the same key, nil for none.
func (w *Walker) value(u *unit, it *item, path, value, old []byte) error {
	if !it.account() {
		w.progress.Slots++
		return nil
	}
	if len(path) != KeyLen {
		return fmt.Errorf("account at path %x: %w", path, ErrMalformed)
	}
	w.progress.Accounts++
	key, _ := KeyRange(path)
	account, err := decodeAccount(key, value)
	if err != nil {
		return err
	}
	noStorage := it.noStorage
	if old != nil { // what the account had is complete
		had, err := decodeAccount(key, old)
		if err != nil {
			return err
		}
		noStorage = had.Storage == (common.Hash{})
		if had.CodeHash == account.CodeHash {
			account.CodeHash = common.Hash{}
		}
		if had.Storage == account.Storage {
			account.Storage, noStorage = common.Hash{}, true
		}
	}
	if account.Storage == (common.Hash{}) && !noStorage {
		if err := w.cfg.Writer.DeleteOwner(key); err != nil {
			return err
		}
	}
	return w.account(u, account, noStorage)
}

// account makes items of the storage root and of the code of an account.
func (w *Walker) account(u *unit, a Account, noStorage bool) error {
	delete(w.division.hinted, a.Key)
	if a.Storage != (common.Hash{}) {
		w.extent.whole.Tries++
		u.pending++
		heap.Push(&w.queue, w.newItem(item{NodeRef: NodeRef{Owner: a.Key, Hash: a.Storage}, parent: u, index: -1, empty: noStorage}))
	}
	if a.CodeHash == (common.Hash{}) || w.known[a.CodeHash] {
		return nil
	}
	units, asked := w.waiting[a.CodeHash]
	if !asked {
		has, err := w.cfg.Complete.HasCode(a.CodeHash)
		if err != nil {
			return err
		}
		if has {
			w.knowCode(a.CodeHash)
			return nil
		}
		if !w.delegateCode(a.Key, a.CodeHash) {
			w.codes = append(w.codes, a.CodeHash)
		}
	} else {
		w.claimCode(a.Key, a.CodeHash)
	}
	u.pending++
	w.waiting[a.CodeHash] = append(units, u)
	return nil
}

func (w *Walker) knowCode(hash common.Hash) {
	if len(w.known) >= maxKnownCode {
		clear(w.known)
	}
	w.known[hash] = true
}

// apply takes a proved piece of a visited item.
func (w *Walker) apply(it *item, p *Piece) error {
	if p.Nodes == nil {
		return w.open(it, p.Blob, p.Below)
	}
	w.extent.learn(it, p.Leaves, shareOf(it.Path), 0)
	u := w.newUnit(it, p.Nodes)
	if !it.account() {
		w.progress.Slots += uint64(p.Leaves)
		return w.settle(u)
	}
	w.progress.Accounts += uint64(p.Leaves)
	if !it.noStorage {
		if err := w.clearOrphans(it.Path, p.Accounts); err != nil {
			return err
		}
	}
	for _, a := range p.Accounts {
		if err := w.account(u, a, it.noStorage); err != nil {
			return err
		}
	}
	return w.settle(u)
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

func (w *Walker) newUnit(it *item, nodes []Node) *unit {
	u := &unit{parent: it.parent, index: it.index, nodes: nodes, pending: 1, part: it.partRef} // 1: its maker settles it last
	if it.account() {
		u.share = shareOf(it.Path)
		u.left = u.share
	}
	w.buffered += u.size()
	return u
}

// settle counts one pending item or code of a unit as complete. A unit without pending ones is written,
// and its parent is settled.
func (w *Walker) settle(u *unit) error {
	for {
		u.pending--
		if u.pending > 0 {
			return nil
		}
		for _, n := range u.nodes {
			if err := w.cfg.Writer.Put(n.Owner, n.Path, n.Blob); err != nil {
				return err
			}
		}
		w.buffered -= u.size()
		w.progress.Nodes += uint64(len(u.nodes))
		w.progress.Share += u.left
		u.nodes = nil
		w.division.settled(u.part)
		if u.parent == nil {
			return w.finish()
		}
		u.parent.left -= u.share
		u = u.parent
	}
}

// settleAbove settles the parent of a complete item, or ends the walk.
func (w *Walker) settleAbove(u *unit, it *item) error {
	w.division.settled(it.partRef)
	if u == nil {
		return w.finish()
	}
	if it.account() {
		u.left -= shareOf(it.Path)
	}
	return w.settle(u)
}

func (w *Walker) finish() error {
	if err := w.cfg.Writer.Flush(); err != nil {
		return err
	}
	w.done = true
	return nil
}
