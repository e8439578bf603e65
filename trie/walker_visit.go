// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"container/heap"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// visit takes what the local stores have for an item; nil: it has to be looked up. It returns true if the item must be fetched.
// Otherwise the item is complete or its children are in the queue.
func (w *Walker) visit(it *item, f *found) (missing bool, err error) {
	if !it.visited {
		if f == nil {
			now := w.look(it)
			f = &now
		}
		it.visited = true
		if complete, err := w.inspect(it, f); err != nil || complete {
			return false, err
		}
		if f.asked {
			if f.local == nil {
				return true, nil
			}
			return false, w.open(it, f.local, nil)
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

// inspect takes what the store has at and below the path of an item, and deletes a node with another hash
// (rule 2 of the package comment), and leaves without nodes (rule 5).
func (w *Walker) inspect(it *item, f *found) (complete bool, err error) {
	switch {
	case f.err != nil:
		return false, f.err
	case f.complete:
		return true, w.keep(it)
	case f.blob != nil:
		it.previous = f.blob
		return false, w.cfg.Writer.Delete(it.Owner, it.Path)
	}
	it.empty = !f.below
	it.noStorage = it.noStorage || it.account() && !f.storage
	if f.leaves {
		first, last := KeyRange(it.Path)
		return false, w.cfg.Writer.DeleteLeaves(it.Owner, first, last)
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

// value handles a leaf in an opened node. old is the value that the store had for the same key, nil for none.
func (w *Walker) value(u *unit, it *item, path, value, old []byte) error {
	if len(path) != KeyLen {
		return fmt.Errorf("leaf of owner %x at path %x: %w", it.Owner, path, ErrMalformed)
	}
	key, _ := KeyRange(path)
	if !bytes.Equal(value, old) {
		if err := w.cfg.Writer.PutLeaf(it.Owner, key, value); err != nil {
			return err
		}
	}
	if !it.account() {
		w.progress.Slots++
		return nil
	}
	w.progress.Accounts++
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
	if a.CodeHash == (common.Hash{}) || w.cfg.Codes.has(a.CodeHash) {
		return nil
	}
	units, asked := w.waiting[a.CodeHash]
	if !asked {
		has, err := w.hasCode(a.CodeHash)
		if err != nil {
			return err
		}
		if has {
			w.cfg.Codes.add(a.CodeHash)
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

// apply takes a proved piece of a visited item.
func (w *Walker) apply(it *item, p *Piece) error {
	if p.Nodes == nil {
		return w.open(it, p.Blob, p.Below)
	}
	w.extent.learn(it, len(p.Keys), shareOf(it.Path), 0)
	u := w.newUnit(it, p.Nodes)
	for i, key := range p.Keys {
		if err := w.cfg.Writer.PutLeaf(it.Owner, key, p.Values[i]); err != nil {
			return err
		}
	}
	if !it.account() {
		w.progress.Slots += uint64(len(p.Keys))
		return w.settle(u)
	}
	w.progress.Accounts += uint64(len(p.Keys))
	if !it.noStorage {
		if err := w.clearOrphans(it.Path, p.Accounts); err != nil {
			return err
		}
	}
	if err := w.lookUpCodes(p.Accounts); err != nil {
		return err
	}
	for _, a := range p.Accounts {
		if err := w.account(u, a, it.noStorage); err != nil {
			return err
		}
	}
	clear(w.absent)
	return w.settle(u)
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
