// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"container/heap"

	"github.com/ethereum/go-ethereum/common"
)

// item is a wanted node of which the walker knows only the hash.
type item struct {
	NodeRef
	parent *unit // nil for the root
	index  int   // among the items of the parent
	order  [2 * common.HashLength]byte

	visited   bool    // looked up in the store
	empty     bool    // the store has no node of this trie at or below the path
	noStorage bool    // in the account trie: the store has no storage of accounts below the path
	total     float64 // in storage tries: estimated leaves of the whole trie; 0: unknown
	previous  []byte  // the version of the node that the store had at the path: its whole subtree is there

	partRef
	split bool // a peer that announced all of it refused: take it apart
}

// newItem returns an item with its position in the order of the walk: the distance of its first key, upward,
// from the seed. An item with keys on both sides of the seed is first.
func (w *Walker) newItem(it item) *item {
	w.division.locate(&it)
	w.arrange(&it)
	return &it
}

func (w *Walker) arrange(it *item) {
	account, slot := it.Owner, common.Hash{}
	if it.account() {
		first, last := KeyRange(it.Path)
		account = first
		if first.Cmp(w.cfg.Seed) <= 0 && last.Cmp(w.cfg.Seed) >= 0 {
			account = w.cfg.Seed
		}
	} else {
		slot, _ = KeyRange(it.Path)
	}
	borrow := 0
	for i := common.HashLength - 1; i >= 0; i-- {
		d := int(account[i]) - int(w.cfg.Seed[i]) - borrow
		borrow = 0
		if d < 0 {
			d, borrow = d+256, 1
		}
		it.order[i] = byte(d)
	}
	copy(it.order[common.HashLength:], slot[:])
}

func (it *item) account() bool { return it.Owner == (common.Hash{}) }

// leaves estimates the number of leaves below the item; 0: unknown.
func (it *item) leaves(w *Walker) float64 {
	n := it.total
	if it.account() {
		n = w.total
	}
	return n * shareOf(it.Path)
}

// ranged says whether to request the item as a range of leaves: the store has nothing there that would
// be fetched again, one or two responses contain it, and it is not to be taken apart.
func (it *item) ranged(w *Walker) bool {
	return !w.byNodes && it.empty && it.few(w) && !w.division.opened(it)
}

// few says whether one or two responses contain all leaves.
func (it *item) few(w *Walker) bool { return it.leaves(w) <= 2*float64(w.cfg.RangeLeaves) }

// precedes says whether no key is between those of two items of one trie.
func (it *item) precedes(next *item) bool {
	_, last := KeyRange(it.Path)
	first, _ := KeyRange(next.Path)
	if bytes.Compare(it.order[:], next.order[:]) < 0 && follows(last, first) {
		return true
	}
	index := it.index
	for u := it.parent; u != nil && next.parent != nil; index, u = u.index, u.parent {
		if u == next.parent {
			return next.index == index+1
		}
		if index != u.items-1 {
			return false
		}
	}
	return false
}

// follows says whether b = a+1.
func follows(a, b common.Hash) bool {
	for i := len(a) - 1; i >= 0; i-- {
		a[i]++
		if a[i] != 0 {
			return a == b
		}
	}
	return false
}

// shareOf returns the fraction of the key space that is below a path.
func shareOf(path []byte) float64 {
	share := 1.0
	for range path {
		share /= 16
	}
	return share
}

// itemQueue is a heap of items in the order of the walk.
type itemQueue []*item

var _ heap.Interface = (*itemQueue)(nil)

func (q itemQueue) Len() int           { return len(q) }
func (q itemQueue) Less(i, j int) bool { return bytes.Compare(q[i].order[:], q[j].order[:]) < 0 }
func (q itemQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *itemQueue) Push(x any)        { *q = append(*q, x.(*item)) }
func (q *itemQueue) Pop() any {
	old := *q
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return it
}

// unit is a set of known nodes that wait until everything below them is complete.
type unit struct {
	parent  *unit
	index   int     // of its item, among the items of the parent
	items   int     // that its nodes refer to
	nodes   []Node  // children first
	pending int     // items and codes that are not complete
	share   float64 // of the account trie's key space, 0 in storage tries
	left    float64 // of share: not yet counted by a unit below
	part    partRef
}

func (u *unit) size() int {
	n := 0
	for i := range u.nodes {
		n += len(u.nodes[i].Blob) + len(u.nodes[i].Path) + 96
	}
	return n
}
