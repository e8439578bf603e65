package backfill

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxNewcomer is the largest part of a state that a node which is not the first one takes from full
// peers: the rest it gets from its fellows.
const maxNewcomer = 1.0 / 8

// member is a node that collects the state, ourselves included.
type member struct {
	id    string
	since uint64 // when it began, by its own word
}

// division says who brings which part of a state: a pure function of who is there and what they have.
//
// Parts are assigned by rendezvous hashing: each member draws a number for each part, the lowest one,
// divided by its weight, has it. So all who see the same members agree, and when one comes or
// goes only its own parts change hands. Whoever began first has what newcomers leave: all weigh
// the same from eight members on, and of two the second one brings an eighth.
type division struct {
	self    string
	members []member
	offered map[common.Hash]*trie.Slices // what fellows have that can be asked
	taken   map[trie.Part]bool           // from others that do not bring it
	lively  map[string]bool              // members that completed something a moment ago

	owners map[trie.Part]string // what has been found out
}

// newDivision sorts the members.
func newDivision(self string, members []member, offered map[common.Hash]*trie.Slices, taken map[trie.Part]bool) *division {
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id))
	})
	return &division{self: self, members: members, offered: offered, taken: taken, owners: make(map[trie.Part]string)}
}

// alone says whether there is nobody to divide anything with.
func (d *division) alone() bool { return len(d.members) < 2 && len(d.offered) == 0 }

// mine says whether we ask full peers for a part: no fellow has it, and none is to bring it.
func (d *division) mine(p trie.Part) bool {
	if d.has(p) {
		return false
	}
	return d.taken[p] || d.owner(p) == d.self
}

// has says whether a fellow has a part.
func (d *division) has(p trie.Part) bool {
	set := d.offered[p.Owner]
	return set != nil && set.Has(p.Slice)
}

// owner is who brings a part.
func (d *division) owner(p trie.Part) string {
	owner, ok := d.owners[p]
	if !ok {
		owner = d.ranked(p, "")
		d.owners[p] = owner
	}
	return owner
}

// ranked is who would bring a part if one of the members were not there.
func (d *division) ranked(p trie.Part, without string) (owner string) {
	other := min(1/float64(len(d.members)), maxNewcomer)
	best := math.Inf(1)
	for i, m := range d.members {
		weight := other
		if i == 0 {
			weight = 1 - other*float64(len(d.members)-1)
		}
		if score := draw(m.id, p) / weight; score < best && m.id != without {
			owner, best = m.id, score
		}
	}
	return owner
}

// draw is a number from an exponential distribution, the same whoever draws it.
func draw(id string, p trie.Part) float64 {
	h := fnv.New64a()
	h.Write([]byte(id)) // as everything below, without errors
	h.Write(p.Owner[:])
	h.Write([]byte{p.Slice})
	return -math.Log((float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53))
}

// mix spreads the bits of a hash: FNV leaves those of the last bytes close together. The steps are
// those of MurmurHash3's finalizer.
func mix(x uint64) uint64 {
	for _, factor := range [...]uint64{0xff51afd7ed558ccd, 0xc4ceb9fe1a85ec53} {
		x ^= x >> 33
		x *= factor
	}
	return x ^ x>>33
}

// steal chooses parts that others were to bring and did not: from the end of the walk, because their
// owners come from the other side, and first those that are ours if their owner is not there. Lively owners
// are left theirs unless patience is at its end.
func (d *division) steal(parked []trie.Part, n int, impatient bool) (stolen []trie.Part) {
	open := slices.DeleteFunc(slices.Clone(parked), func(p trie.Part) bool {
		return d.has(p) || d.mine(p) || !impatient && d.lively[d.owner(p)]
	})
	slices.Reverse(open)
	slices.SortStableFunc(open, func(a, b trie.Part) int {
		next := func(p trie.Part) int {
			if d.ranked(p, d.owner(p)) == d.self {
				return 0
			}
			return 1
		}
		return cmp.Compare(next(a), next(b))
	})
	return open[:min(n, len(open))]
}

// partsIn counts the parts of sets.
func partsIn(sets map[common.Hash]trie.Slices) (n int) {
	for _, set := range sets {
		for i := 0; i < len(set); i += 8 {
			for x := binary.BigEndian.Uint64(set[i:]); x != 0; x &= x - 1 {
				n++
			}
		}
	}
	return n
}
