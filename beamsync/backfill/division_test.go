// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"fmt"
	"math"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

func allParts() (parts []trie.Part) {
	for _, owner := range []common.Hash{{}, {1}, {2}, {3}, {4}} {
		for slice := range 256 {
			parts = append(parts, trie.Part{Owner: owner, Slice: byte(slice)})
		}
	}
	return parts
}

// membersOf makes n members. The one with index 3, or the last one of fewer, began first.
func membersOf(n int) (members []member) {
	for i := range n {
		members = append(members, member{fmt.Sprintf("%064x", i*7919), uint64(1000 + (i+n-min(3, n-1))%n)})
	}
	return members
}

// TestDivision: all members agree, each part has one owner, and the shares follow the weights.
func TestDivision(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4, 6, 8, 30} {
		count := make(map[string]int)
		for _, p := range allParts() {
			owners := 0
			for _, self := range membersOf(n) {
				d := newDivision(self.id, membersOf(n), nil, nil)
				if d.mine(p) {
					owners++
					count[self.id]++
				}
			}
			if owners != 1 {
				t.Fatalf("%d of %d members own part %v", owners, n, p)
			}
		}
		first := newDivision("", membersOf(n), nil, nil).members[0].id
		for _, m := range membersOf(n) {
			want := min(1/float64(n), maxNewcomerShare)
			if m.id == first {
				want = 1 - want*float64(n-1)
			}
			got := float64(count[m.id]) / float64(len(allParts()))
			if deviation := math.Sqrt(want * (1 - want) / float64(len(allParts()))); math.Abs(got-want) > 4*deviation+1e-9 {
				t.Errorf("of %d members, one owns %.3f, want %.3f", n, got, want)
			}
		}
	}
}

// TestDivisionMoves: when one of many members leaves, only its parts change owners, as ranked says.
func TestDivisionMoves(t *testing.T) {
	t.Parallel()
	before := newDivision("", membersOf(12), nil, nil)
	for left := range 12 {
		if left == 3 {
			continue // it began first; all weigh the same, but another one is first then
		}
		members := membersOf(12)
		id := members[left].id
		after := newDivision("", append(members[:left], members[left+1:]...), nil, nil)
		for _, p := range allParts() {
			owner := before.owner(p)
			if owner == id {
				owner = before.ranked(p, id)
			}
			if after.owner(p) != owner {
				t.Fatalf("part %v went from %s to %s", p, before.owner(p), after.owner(p))
			}
		}
	}
}

func TestDivisionSources(t *testing.T) {
	t.Parallel()
	members := membersOf(2)
	self, other := members[0].id, members[1].id
	d := newDivision(self, members, map[common.Hash]*trie.Slices{{}: {0x80}, {1}: {0xff}}, map[trie.Part]bool{{Slice: 1}: true})
	if d.mine(trie.Part{}) || d.mine(trie.Part{Owner: common.Hash{1}, Slice: 7}) {
		t.Error("a part that a swarm peer has is ours")
	}
	if !d.mine(trie.Part{Slice: 1}) {
		t.Error("a part in endgame is not ours")
	}
	taken := newDivision(self, members, d.offered, map[trie.Part]bool{{}: true, {Owner: common.Hash{1}, Slice: 7}: false})
	if !taken.mine(trie.Part{}) || taken.mine(trie.Part{Owner: common.Hash{1}, Slice: 7}) {
		t.Error("a part that a swarm peer has is ours only if the peer is too slow")
	}
	if slow := d.endgameParts([]trie.Part{{}}, 10, true, true); len(slow) != 1 || len(d.endgameParts([]trie.Part{{}}, 10, true, false)) != 0 {
		t.Errorf("%v of a slow swarm peer", slow)
	}
	if d.alone() || !newDivision("", members[:1], nil, nil).alone() || newDivision("", members[:1], d.offered, nil).alone() {
		t.Error("alone is wrong")
	}
	delegated := allParts()
	chosen := d.endgameParts(delegated, 10, false, false)
	for i, p := range chosen {
		if d.owner(p) == d.self || d.has(p) || i > 0 && p.Owner.Cmp(chosen[i-1].Owner) > 0 {
			t.Errorf("part %v is chosen at turn %d", p, i)
		}
	}
	d.active = map[string]bool{other: true}
	if len(chosen) != 10 || len(d.endgameParts(delegated, 10, false, false)) != 0 || len(d.endgameParts(delegated, 10, true, false)) != 10 {
		t.Errorf("%d parts were chosen; of an active owner %d, or %d of all owners", len(chosen), len(d.endgameParts(delegated, 10, false, false)), len(d.endgameParts(delegated, 10, true, false)))
	}
}

func TestNewHave(t *testing.T) {
	t.Parallel()
	complete := map[common.Hash]trie.Slices{{}: {1}, {7}: {2}, {5}: {}}
	have := newHave(Target{Root: common.Hash{9}, Number: 9}, 3, complete)
	if fmt.Sprint(have.complete()) != fmt.Sprint(complete) || have.Large[0] != (common.Hash{5}) || !have.Active || have.Since != 3 || have.Number != 9 {
		t.Errorf("%+v", have)
	}
	for i := range 2 * maxLargeTries {
		complete[common.Hash{8, byte(i)}] = trie.Slices{}
	}
	if have = newHave(Target{}, 0, complete); len(have.Large) != maxLargeTries || len(have.LargeSlices) != maxLargeTries {
		t.Errorf("%d large tries", len(have.Large))
	}
	if n := partsIn(map[common.Hash]trie.Slices{{}: allSlices(), {1}: {0x81}}); n != 258 {
		t.Errorf("%d parts", n)
	}
}
