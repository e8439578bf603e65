// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"container/heap"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Part is a piece of a state that the Sunbeam nodes of a swarm divide among themselves: the accounts whose
// hashes begin with one byte, with their storage and code, or the slots of one large storage trie whose
// hashes do. A trie is large if it takes four range requests or more.
type Part struct {
	Owner common.Hash // of the large storage trie; zero: accounts
	Slice byte
}

const (
	partDepth  = 2  // nibbles in the path of a slice
	largeTries = 4  // range requests from which on a storage trie has parts of its own
	maxHints   = 64 // accounts with large tries as announced by swarm peers
)

// Slices has a bit for each slice, the first one being the highest of the first byte.
type Slices [32]byte

// Has says whether a slice is in the set.
func (s *Slices) Has(slice byte) bool { return s[slice/8]&(0x80>>(slice%8)) != 0 }

// Add puts a slice into the set.
func (s *Slices) Add(slice byte) { s[slice/8] |= 0x80 >> (slice % 8) }

// division is the state of the walk by parts. Items in parts that swarm peers are to deliver are delegated:
// they are not in the queue until Divide assigns the part to this node or [Walker.Shared] takes them.
type division struct {
	mine      func(Part) bool // whether a part is assigned to this node; nil: all are, there is no swarm
	delegated map[Part]*delegation
	open      map[Part]int            // items that are not complete
	completed map[common.Hash]*Slices // complete ones, by owner
	large     map[common.Hash]bool    // accounts with large tries; true: seen in the walk, not only announced
	hinted    map[common.Hash][]byte  // those of large that are not found yet: their nibbles
}

// partRef says which part an item or a unit belongs to.
type partRef struct {
	part    Part
	path    []byte
	wide    bool // spans several parts
	counted bool // in division.open
}

// delegation is the delegated items and codes of one part.
type delegation struct {
	items []*item
	codes []common.Hash
}

func newDivision() division {
	return division{
		delegated: make(map[Part]*delegation), open: make(map[Part]int), completed: make(map[common.Hash]*Slices),
		large: make(map[common.Hash]bool), hinted: make(map[common.Hash][]byte),
	}
}

// locate assigns an item to its part.
func (d *division) locate(it *item) {
	if it.counted {
		return
	}
	it.part = Part{Slice: it.Owner[0]}
	if _, large := d.large[it.Owner]; !it.account() && !large {
		return
	}
	it.part = Part{Owner: it.Owner}
	it.path = it.Path
	if it.wide = len(it.Path) < partDepth; !it.wide {
		it.part.Slice = it.Path[0]<<4 | it.Path[1]
		it.counted = true
		d.open[it.part]++
	}
}

// close counts an item of a part as complete.
func (d *division) close(p Part) {
	if d.open[p]--; d.open[p] == 0 {
		delete(d.open, p)
		d.complete(p)
	}
}

func (d *division) complete(p Part) {
	if d.completed[p.Owner] == nil {
		d.completed[p.Owner] = new(Slices)
	}
	d.completed[p.Owner].Add(p.Slice)
}

// settled counts an item as complete.
func (d *division) settled(at partRef) {
	switch {
	case at.counted:
		d.close(at.part)
	case at.wide:
		first, last := KeyRange(at.path)
		for slice := int(first[0]); slice <= int(last[0]); slice++ {
			d.complete(Part{at.part.Owner, byte(slice)})
		}
	}
}

// opened says whether an item must be taken apart node by node, because it spans several parts or is on
// the path to an account that a swarm peer announced as large.
func (d *division) opened(it *item) bool {
	if d.mine == nil {
		return false
	}
	if it.wide || it.split {
		return true
	}
	if !it.account() {
		return false
	}
	for _, key := range d.hinted {
		if bytes.HasPrefix(key, it.Path) {
			return true
		}
	}
	return false
}

// delegates says whether an item is for swarm peers to deliver.
func (w *Walker) delegates(it *item) bool {
	d := &w.division
	return d.mine != nil && it.empty && it.few(w) && !d.opened(it) && !d.mine(it.part)
}

func (d *division) delegation(p Part) *delegation {
	if d.delegated[p] == nil {
		d.delegated[p] = new(delegation)
	}
	return d.delegated[p]
}

func (w *Walker) delegate(it *item) {
	p := w.division.delegation(it.part)
	p.items = append(p.items, it)
}

// delegateCode keeps a code of an account apart if others are to bring it.
func (w *Walker) delegateCode(account, code common.Hash) bool {
	part, d := Part{Slice: account[0]}, &w.division
	if d.mine == nil || d.mine(part) {
		return false
	}
	p := d.delegation(part)
	p.codes = append(p.codes, code)
	return true
}

// claimCode takes back a code that a part of this node needs too. A part of this node must not wait for a part of a
// peer: the peer could be waiting for this node.
func (w *Walker) claimCode(account, code common.Hash) {
	d := &w.division
	if d.mine == nil || !d.mine(Part{Slice: account[0]}) {
		return
	}
	for part, p := range d.delegated {
		if i := slices.Index(p.codes, code); i >= 0 {
			p.codes = slices.Delete(p.codes, i, i+1)
			d.tidy(part)
			w.codes = append(w.codes, code)
			return
		}
	}
}

// reclaim puts the items and codes of a part back into the queues.
func (w *Walker) reclaim(part Part) {
	p := w.division.delegated[part]
	if p == nil {
		return
	}
	delete(w.division.delegated, part)
	for _, it := range p.items {
		heap.Push(&w.queue, it)
	}
	w.codes = append(w.codes, p.codes...)
}

// Divide sets which parts are assigned to this node. Items of the other parts wait for Shared. nil means
// that there is no swarm: the whole walk is in the order of keys.
func (w *Walker) Divide(mine func(Part) bool) {
	w.division.mine = mine
	for part := range w.division.delegated {
		if mine == nil || mine(part) {
			w.reclaim(part)
		}
	}
}

// Delegated returns the parts with delegated items or codes, in the order of the walk.
func (w *Walker) Delegated() []Part {
	items := make([]item, 0, len(w.division.delegated))
	for p := range w.division.delegated {
		it := item{partRef: partRef{part: p}, NodeRef: NodeRef{Owner: p.Owner, Path: []byte{p.Slice >> 4, p.Slice & 15}}}
		w.arrange(&it)
		items = append(items, it)
	}
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.order[:], b.order[:]) })
	parts := make([]Part, len(items))
	for i := range items {
		parts[i] = items[i].part
	}
	return parts
}

// Shared returns a need of at most so many delegated codes or items of these parts; nil if there are none. It is of kind
// NeedCodes or NeedSubtrees, and returns to the walker as other needs do.
func (w *Walker) Shared(parts []Part, most int) *Need {
	d := &w.division
	need := &Need{Kind: NeedCodes}
	for _, part := range parts {
		if p := d.delegated[part]; p != nil {
			n := min(len(p.codes), min(most, maxCodes)-len(need.Codes))
			need.Codes, p.codes = append(need.Codes, p.codes[:n]...), p.codes[n:]
			d.tidy(part)
		}
	}
	if len(need.Codes) > 0 {
		w.inFlight++
		return need
	}
	need.Kind = NeedSubtrees
	var leaves float64
	for _, part := range parts {
		p := d.delegated[part]
		for p != nil && len(p.items) > 0 && len(need.items) < min(most, MaxSubtrees) && leaves <= float64(w.cfg.RangeLeaves) {
			leaves += p.items[0].leaves(w)
			need.items, need.Refs = append(need.items, p.items[0]), append(need.Refs, p.items[0].NodeRef)
			p.items = p.items[1:]
		}
		d.tidy(part)
	}
	if len(need.items) == 0 {
		return nil
	}
	w.inFlight++
	return need
}

// tidy deletes an empty delegation.
func (d *division) tidy(part Part) {
	if p := d.delegated[part]; p != nil && len(p.items)+len(p.codes) == 0 {
		delete(d.delegated, part)
	}
}

// matchSubtrees is Match for NeedSubtrees.
func (n *Need) matchSubtrees(keys [][]common.Hash, values [][][]byte, proof [][]byte) (*Delivery, error) {
	if len(keys) > len(n.Refs) {
		return nil, &InvalidRangeError{fmt.Sprintf("%d subtrees, %d were asked for", len(keys), len(n.Refs))}
	}
	d := &Delivery{Pieces: make([]*Piece, len(n.Refs)), totals: make([]float64, len(n.Refs)), refused: make([]bool, len(n.Refs))}
	for i := range keys {
		if d.refused[i] = len(keys[i]) == 0; d.refused[i] {
			d.Refused++
			continue
		}
		first, last := KeyRange(n.Refs[i].Path)
		if keys[i][len(keys[i])-1].Cmp(last) > 0 {
			return nil, &InvalidRangeError{fmt.Sprintf("key %x is not under path %x", keys[i][len(keys[i])-1], n.Refs[i].Path)}
		}
		leaves := Leaves{Origin: first, Keys: keys[i], Values: values[i], Whole: true}
		if i == len(keys)-1 && len(proof) > 0 {
			leaves.Whole, leaves.Proof = false, proof
		}
		piece, err := leaves.Match(n.Refs[i])
		if err != nil {
			return nil, err
		}
		d.Pieces[i], d.totals[i] = piece, leaves.total()
		d.Leaves += piece.leaves()
	}
	return d, nil
}

// HintLargeTrie says that a swarm peer announced the storage trie of an account as large. The claim need not be
// true: the path to the account and its trie are taken apart node by node, so that the trie can be divided too.
func (w *Walker) HintLargeTrie(account common.Hash) {
	d := &w.division
	if _, known := d.large[account]; known || len(d.large) >= maxHints {
		return
	}
	d.large[account] = false
	d.hinted[account] = Nibbles(account)
	w.reclaim(Part{Slice: account[0]})
}

// CompleteSlices returns the complete slices by owner: the zero hash for accounts, and each large storage trie, whose
// set may be empty. They are durable after a flush of the writer.
func (w *Walker) CompleteSlices() map[common.Hash]Slices {
	d := &w.division
	whole := map[common.Hash]Slices{{}: {}}
	for owner, set := range d.completed {
		whole[owner] = *set
	}
	accounts := whole[common.Hash{}]
	for owner, seen := range d.large {
		if _, ok := whole[owner]; !ok && seen {
			whole[owner] = Slices{}
		}
		if accounts.Has(owner[0]) {
			delete(whole, owner) // it is part of what is complete
		}
	}
	return whole
}
