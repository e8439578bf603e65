// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import "github.com/ethereum/go-ethereum/common"

// Tract is what a walk knows about the leaves of one trie. Shares are of the key space, 0 to 1.
type Tract struct {
	Leaves float64 // found in the walk
	Seen   float64 // share in which they are: all of its leaves are known
	Kept   float64 // share that was complete before the walk, with an unknown number of leaves
}

// minSeen is the share from which on the density of a trie is taken from all of its leaves seen.
const minSeen = 1.0 / 4096

// Total estimates the number of leaves of the whole trie; 0: unknown.
func (t Tract) Total() float64 {
	if t.Seen < minSeen {
		return 0
	}
	return t.Leaves / t.Seen
}

// Rest is the share of which nothing is known.
func (t Tract) Rest() float64 { return max(0, 1-t.Seen-t.Kept) }

// Extent is what a walk knows about the size of the state: how much of each trie it has seen, and how many leaves were there.
type Extent struct {
	Accounts Tract
	Slots    float64 // delivered
	Tries    float64 // storage tries that accounts in Accounts.Seen have, but for those that were complete
	Sized    float64 // of Tries, those whose number of slots is known or can be estimated
	Size     float64 // their slots
	Squares  float64 // sum of the squares of their numbers of slots
	Largest  float64 // the largest of them
	Open     float64 // slots of Size that are still to come
}

// Plus is the sum of what two walks know. Only the later one has tries that are open.
func (e Extent) Plus(later Extent) Extent {
	later.Accounts.Leaves += e.Accounts.Leaves
	later.Accounts.Seen += e.Accounts.Seen
	later.Slots += e.Slots
	later.Tries += e.Tries
	later.Sized += e.Sized
	later.Size += e.Size
	later.Squares += e.Squares
	later.Largest = max(later.Largest, e.Largest)
	return later
}

// extent is the state of an [Extent] in a walk.
type extent struct {
	whole Extent // with the storage tries that are complete
	open  map[common.Hash]*Tract
}

// almost is the share from which on a trie is complete. The shares of paths add up to 1, but for rounding.
const almost = 1 - 1e-9

// learn notes that all leaves of a share of a trie are known now, or were there before.
func (e *extent) learn(it *item, leaves int, seen, kept float64) {
	if it.account() {
		e.whole.Accounts.add(leaves, seen, kept)
		return
	}
	e.whole.Slots += float64(leaves)
	t := e.open[it.Owner]
	if t == nil {
		t = new(Tract)
		e.open[it.Owner] = t
	}
	t.add(leaves, seen, kept)
	if t.Seen+t.Kept < almost {
		return
	}
	delete(e.open, it.Owner)
	if t.Total() > 0 {
		e.whole.size(t)
		return
	}
	e.whole.Tries-- // nearly all was there before, and its size is not known
}

func (t *Tract) add(leaves int, seen, kept float64) {
	t.Leaves += float64(leaves)
	t.Seen += seen
	t.Kept += kept
}

// size counts a trie whose size can be estimated.
func (e *Extent) size(t *Tract) {
	total := t.Leaves / t.Seen
	e.Sized++
	e.Size += total
	e.Squares += total * total
	e.Largest = max(e.Largest, total)
	e.Open += total * t.Rest()
}

// Extent returns what the walk knows about the size of the state so far.
func (w *Walker) Extent() Extent {
	e := w.extent.whole
	for _, t := range w.extent.open {
		if t.Total() > 0 {
			e.size(t)
		}
	}
	return e
}

// opened learns what an opened node says: nothing is beside its children, and its values are leaves.
func (e *extent) opened(it *item, children []Child) {
	share, leaves := shareOf(it.Path), 0
	for _, c := range children {
		if c.Value != nil {
			leaves++
			continue
		}
		below := shareOf(it.Path)
		for range c.Path {
			below /= 16
		}
		share -= below
	}
	e.learn(it, leaves, share, 0)
}
