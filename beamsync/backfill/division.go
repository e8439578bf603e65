// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// maxNewcomerShare is the largest share of a state that any member but the first one requests from full
// peers. It gets the rest from swarm peers.
const maxNewcomerShare = 1.0 / 8

// member is a node that collects the state, ourselves included.
type member struct {
	id    string
	since uint64 // when it began, as it announces
}

// division assigns the parts of a state to members. It is a pure function of the members and of what they have.
//
// Parts are assigned by rendezvous hashing: for each part each member has a pseudo-random score, divided by its
// weight, and the lowest score owns the part. So all nodes that see the same members agree, and when a member
// joins or leaves only its own parts change owners. The member that began first has the weight that the others
// leave: from eight members on all weigh the same, and of two the second one owns an eighth.
type division struct {
	self    string
	members []member
	offered map[common.Hash]*trie.Slices // what available swarm peers have, by owner
	endgame map[trie.Part]bool           // parts of other members that we request all the same; true: even if a swarm peer has them
	active  map[string]bool              // members that announced another part recently

	owners map[trie.Part]string // a cache of owner
}

// newDivision sorts the members.
func newDivision(self string, members []member, offered map[common.Hash]*trie.Slices, taken map[trie.Part]bool) *division {
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.id, b.id))
	})
	return &division{self: self, members: members, offered: offered, endgame: taken, owners: make(map[trie.Part]string)}
}

// alone says whether there is no other member, and no swarm peer that has a part.
func (d *division) alone() bool { return len(d.members) < 2 && len(d.offered) == 0 }

// mine says whether we request a part from full peers: no swarm peer has it, and it is assigned to us or in endgame, or the swarm
// peers that have it are too slow.
func (d *division) mine(p trie.Part) bool {
	forced, taken := d.endgame[p]
	if forced || d.has(p) {
		return forced
	}
	return taken || d.owner(p) == d.self
}

// has says whether an available swarm peer has a part.
func (d *division) has(p trie.Part) bool {
	set := d.offered[p.Owner]
	return set != nil && set.Has(p.Slice)
}

// owner is the member that a part is assigned to.
func (d *division) owner(p trie.Part) string {
	owner, ok := d.owners[p]
	if !ok {
		owner = d.ranked(p, "")
		d.owners[p] = owner
	}
	return owner
}

// ranked is the owner of a part if one member were absent.
func (d *division) ranked(p trie.Part, without string) (owner string) {
	other := min(1/float64(len(d.members)), maxNewcomerShare)
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

// draw is the score of a member for a part, exponentially distributed and the same on all nodes.
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

// endgameParts chooses at most n delegated parts to request from full peers although they are assigned to other members. It
// begins at the end of the walk, because their owners come from the other side, and prefers parts that would be ours if their
// owner were absent. Parts of active members are left to them unless all is set, and parts that swarm peers have unless these are
// too slow.
func (d *division) endgameParts(delegated []trie.Part, n int, all, slow bool) []trie.Part {
	open := slices.DeleteFunc(slices.Clone(delegated), func(p trie.Part) bool {
		return !slow && d.has(p) || d.mine(p) || !all && d.active[d.owner(p)]
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
