package trie

import (
	"bytes"
	"container/heap"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// Part is a piece of a state that nodes of our own kind divide among themselves: the accounts whose
// hashes begin with a byte, with their storage and code, or the slots whose hashes do in one large
// storage trie. Tries are large from four range requests on.
type Part struct {
	Owner common.Hash // of the large storage trie; zero: accounts
	Slice byte
}

const (
	partDepth  = 2  // nibbles that name a slice
	largeTries = 4  // range requests that a storage trie takes which has parts of its own
	maxSought  = 64 // accounts that others say to have large tries
)

// Slices has a bit for each slice, the first one being the highest of the first byte.
type Slices [32]byte

// Has says whether a slice is in the set.
func (s *Slices) Has(slice byte) bool { return s[slice/8]&(0x80>>(slice%8)) != 0 }

// Add puts a slice into the set.
func (s *Slices) Add(slice byte) { s[slice/8] |= 0x80 >> (slice % 8) }

// division is what the walker knows of parts. Items in parts that others are to bring are parked:
// they leave the queue until Divide says otherwise or [Walker.Shared] asks for them.
type division struct {
	mine   func(Part) bool // whether anybody may be asked for a part; nil: for all, nobody else is there
	parked map[Part]*parking
	open   map[Part]int            // items that are not complete
	whole  map[common.Hash]*Slices // that are complete, by owner
	large  map[common.Hash]bool    // accounts with large tries; true: seen here, not only told
	sought map[common.Hash][]byte  // of these, which are not found yet: their nibbles
}

// place is where an item or a unit is among the parts.
type place struct {
	part    Part
	path    []byte
	wide    bool // of several parts
	counted bool // among the open ones of its part
}

// parking is what is needed of one part.
type parking struct {
	items []*item
	codes []common.Hash
}

func newDivision() division {
	return division{
		parked: make(map[Part]*parking), open: make(map[Part]int), whole: make(map[common.Hash]*Slices),
		large: make(map[common.Hash]bool), sought: make(map[common.Hash][]byte),
	}
}

// locate says of which part an item is.
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
	if d.whole[p.Owner] == nil {
		d.whole[p.Owner] = new(Slices)
	}
	d.whole[p.Owner].Add(p.Slice)
}

// settled counts an item as complete.
func (d *division) settled(at place) {
	switch {
	case at.counted:
		d.close(at.part)
	case at.wide:
		first, last := Span(at.path)
		for slice := int(first[0]); slice <= int(last[0]); slice++ {
			d.complete(Part{at.part.Owner, byte(slice)})
		}
	}
}

// opened says whether an item must be taken apart node by node, because it is of several parts or
// on the way to an account that others found to be large.
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
	for _, key := range d.sought {
		if bytes.HasPrefix(key, it.Path) {
			return true
		}
	}
	return false
}

// parks says whether an item is for others to bring.
func (w *Walker) parks(it *item) bool {
	d := &w.division
	return d.mine != nil && it.bare && it.few(w) && !d.opened(it) && !d.mine(it.part)
}

func (d *division) parking(p Part) *parking {
	if d.parked[p] == nil {
		d.parked[p] = new(parking)
	}
	return d.parked[p]
}

func (w *Walker) park(it *item) {
	p := w.division.parking(it.part)
	p.items = append(p.items, it)
}

// parkCode keeps a code of an account apart if others are to bring it.
func (w *Walker) parkCode(account, code common.Hash) bool {
	part, d := Part{Slice: account[0]}, &w.division
	if d.mine == nil || d.mine(part) {
		return false
	}
	p := d.parking(part)
	p.codes = append(p.codes, code)
	return true
}

// claimCode lets anybody be asked for a code that waits for others as part of something else: what is ours must not
// wait for what is theirs, or they might wait for each other.
func (w *Walker) claimCode(account, code common.Hash) {
	d := &w.division
	if d.mine == nil || !d.mine(Part{Slice: account[0]}) {
		return
	}
	for part, p := range d.parked {
		if i := slices.Index(p.codes, code); i >= 0 {
			p.codes = slices.Delete(p.codes, i, i+1)
			d.tidy(part)
			w.codes = append(w.codes, code)
			return
		}
	}
}

// unpark lets anybody be asked for a part again.
func (w *Walker) unpark(part Part) {
	p := w.division.parked[part]
	if p == nil {
		return
	}
	delete(w.division.parked, part)
	for _, it := range p.items {
		heap.Push(&w.queue, it)
	}
	w.codes = append(w.codes, p.codes...)
}

// Divide says which parts anybody may be asked for; what is needed of the others waits for Shared. nil
// means that there is nobody to share with: then the walk is in the order of keys.
func (w *Walker) Divide(mine func(Part) bool) {
	w.division.mine = mine
	for part := range w.division.parked {
		if mine == nil || mine(part) {
			w.unpark(part)
		}
	}
}

// Parked returns the parts of which something waits for others, in the order of the walk.
func (w *Walker) Parked() []Part {
	items := make([]item, 0, len(w.division.parked))
	for p := range w.division.parked {
		it := item{place: place{part: p}, Want: Want{Owner: p.Owner, Path: []byte{p.Slice >> 4, p.Slice & 15}}}
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

// Shared returns something that is needed of these parts and waits for others; nil if there is nothing. It
// is of kind NeedCodes or NeedSubtrees, and goes back as other needs do.
func (w *Walker) Shared(parts []Part) *Need {
	d := &w.division
	need := &Need{Kind: NeedCodes}
	for _, part := range parts {
		if p := d.parked[part]; p != nil {
			n := min(len(p.codes), maxCodes-len(need.Codes))
			need.Codes, p.codes = append(need.Codes, p.codes[:n]...), p.codes[n:]
			d.tidy(part)
		}
	}
	if len(need.Codes) > 0 {
		w.out++
		return need
	}
	need.Kind = NeedSubtrees
	var leaves float64
	for _, part := range parts {
		p := d.parked[part]
		for p != nil && len(p.items) > 0 && len(need.items) < maxSubtrees && leaves <= float64(w.cfg.RangeLeaves) {
			leaves += p.items[0].leaves(w)
			need.items, need.Wants = append(need.items, p.items[0]), append(need.Wants, p.items[0].Want)
			p.items = p.items[1:]
		}
		d.tidy(part)
	}
	if len(need.items) == 0 {
		return nil
	}
	w.out++
	return need
}

// tidy forgets a parking that is empty.
func (d *division) tidy(part Part) {
	if p := d.parked[part]; p != nil && len(p.items)+len(p.codes) == 0 {
		delete(d.parked, part)
	}
}

// matchSubtrees is Match for NeedSubtrees.
func (n *Need) matchSubtrees(keys [][]common.Hash, values [][][]byte, proof [][]byte) (*Delivery, error) {
	if len(keys) > len(n.Wants) {
		return nil, &Lie{fmt.Sprintf("%d subtrees, %d were asked for", len(keys), len(n.Wants))}
	}
	d := &Delivery{Pieces: make([]*Piece, len(n.Wants)), totals: make([]float64, len(n.Wants)), refused: make([]bool, len(n.Wants))}
	for i := range keys {
		if d.refused[i] = len(keys[i]) == 0; d.refused[i] {
			d.Refused++
			continue
		}
		first, last := Span(n.Wants[i].Path)
		if keys[i][len(keys[i])-1].Cmp(last) > 0 {
			return nil, &Lie{fmt.Sprintf("key %x is not under path %x", keys[i][len(keys[i])-1], n.Wants[i].Path)}
		}
		leaves := Leaves{Origin: first, Keys: keys[i], Values: values[i], Whole: true}
		if i == len(keys)-1 && len(proof) > 0 {
			leaves.Whole, leaves.Proof = false, proof
		}
		piece, err := leaves.Match(n.Wants[i])
		if err != nil {
			return nil, err
		}
		d.Pieces[i], d.totals[i] = piece, leaves.total()
		d.Leaves += piece.leaves()
	}
	return d, nil
}

// Seek tells that others found an account's storage trie to be large. Nobody has to believe it: the
// way to the account is taken apart, and its trie, so that it can be divided as well.
func (w *Walker) Seek(account common.Hash) {
	d := &w.division
	if _, known := d.large[account]; known || len(d.large) >= maxSought {
		return
	}
	d.large[account] = false
	d.sought[account] = Nibbles(account)
	w.unpark(Part{Slice: account[0]})
}

// Whole returns the slices that are complete, by the owner of their trie: zero for accounts, and large
// tries, whose set may be empty. A flush of the writer makes it durable.
func (w *Walker) Whole() map[common.Hash]Slices {
	d := &w.division
	whole := map[common.Hash]Slices{{}: {}}
	for owner, set := range d.whole {
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
