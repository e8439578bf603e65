// SPDX-License-Identifier: LGPL-3.0-or-later

package warmup

import (
	"cmp"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// Window is how many blocks below the base are read.
	Window = 256
	// maxAddresses bounds the tally: 256 blocks of mainnet name some 40,000 addresses.
	maxAddresses = 1 << 16
	// maxSlots bounds the slots of one address.
	maxSlots = 256
	// recentScore is the least score of an address that one of the last 32 blocks named, or several blocks before.
	recentScore = 4
)

// weights is what a mention counts, by the age of the block: newer blocks tell more about the next one. What a block touches was
// touched last in these windows in 60, 10, 8 and 3 percent of the cases (docs/architecture.md), so a block of the first one
// says much more than the weights show; but what is used in every window is sure to come again, and these weights add that up.
var weights = []struct{ age, weight uint64 }{{8, 8}, {32, 4}, {128, 2}, {Window, 1}} //nolint:gochecknoglobals // a constant

func weight(age uint64) uint64 {
	for _, w := range weights {
		if age <= w.age {
			return w.weight
		}
	}
	return 0
}

// tally counts the mentions of addresses. It is pure: the same blocks give the same order.
type tally struct {
	scores map[common.Address]uint64
	slots  mentions
	taken  map[common.Address]bool
	order  []common.Address // those not taken, the best first; nil: to be made anew
}

func newTally() *tally {
	return &tally{scores: make(map[common.Address]uint64), slots: make(mentions), taken: make(map[common.Address]bool)}
}

// add counts what a block mentions that is so many blocks older than the next one: the base has age 1.
func (t *tally) add(age uint64, m mentions) {
	for addr, slots := range m {
		if _, known := t.scores[addr]; !known && len(t.scores) >= maxAddresses {
			continue
		}
		t.scores[addr] += weight(age)
		if room := maxSlots - len(t.slots[addr]); len(slots) > 0 && room > 0 {
			t.slots.add(addr, slots[:min(room, len(slots))]...)
		}
	}
	t.order = nil
}

// best returns up to n addresses that were not taken, the one with the highest score first, none with a score below least.
func (t *tally) best(n int, least uint64) []common.Address {
	if t.order == nil {
		t.order = make([]common.Address, 0, len(t.scores))
		for addr := range t.scores {
			if !t.taken[addr] {
				t.order = append(t.order, addr)
			}
		}
		slices.SortFunc(t.order, func(a, b common.Address) int { return cmp.Or(cmp.Compare(t.scores[b], t.scores[a]), a.Cmp(b)) })
	}
	n = min(n, len(t.order))
	for n > 0 && t.scores[t.order[n-1]] < least {
		n--
	}
	return t.order[:n]
}

// touched is what to fetch of addresses.
func (t *tally) touched(addrs []common.Address) *trie.Touched { return t.slots.touched(addrs) }

// take removes the addresses that best returned.
func (t *tally) take(addrs []common.Address) {
	for _, addr := range addrs {
		t.taken[addr] = true
	}
	t.order = t.order[len(addrs):]
}
