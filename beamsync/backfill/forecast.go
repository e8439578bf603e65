// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"math"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Work is measured in the bytes of leaves as peers send them, because what limits the backfill, bandwidth or hashing, grows with
// them: 32 for the key, and what accounts and full slots have.
const (
	accountWork = 104
	slotWork    = 65
)

// confidence is how many standard deviations the range of a forecast is wide, each way: 80 % of a normal distribution.
const confidence = 1.28

// maxLargest is how much of the slots of all others the largest storage trie counts at most in the usual size.
const maxLargest = 0.25

// forecast says how much of a state is there and how much is to come. It is a pure function of what the walks report one after
// another, and of the share that an earlier process had reached.
//
// What is to come has four parts. The first two are known by density, the others are expected values:
//
//   - accounts: the density of those seen, for the key space of which nothing is known;
//   - the rest of storage tries of which a part came, by the density of that part;
//   - storage tries of which nothing came yet, each of the usual size;
//   - storage of accounts that were not seen: as many tries for the same key space, each of the usual size.
//
// A few contracts have most of the slots, so the last two are uncertain as long as large ones may be among them. One that has most
// says little about the others: the usual size is the mean with the largest one cut. The range says how uncertain it is: sizes are
// drawn as those seen were (a compound Poisson sum, whose variance is the sum of their squares).
//
// The share never falls. An estimate that grows does not take back what was said; the share goes on from where it is, and each piece of
// work brings it as much nearer to 1 as it is of what is left.
type forecast struct {
	earlier  trie.Extent // of the walks before this one
	accounts float64     // estimated number; 0: unknown
	share    float64
	resumed  bool    // the share is that of an earlier process
	work     float64 // done in this walk, when the share was updated last
}

// outlook is what a forecast says.
type outlook struct {
	share     float64 // 0 to 1
	done      float64 // work, in this process
	rest      float64 // work that is to come; 0: unknown
	low, high float64 // its range
}

// minAccounts is how many accounts are enough to know their density.
const minAccounts = 256

// update takes what the current walk knows.
func (f *forecast) update(e trie.Extent) outlook {
	now := work(e)
	gained := now - f.work
	o := outlook{share: f.share, done: work(f.earlier) + now}
	if e.Accounts.Leaves >= minAccounts && e.Accounts.Total() > 0 {
		f.accounts = e.Accounts.Total()
	}
	if f.accounts == 0 {
		return o
	}
	o.rest, o.low, o.high = f.toCome(e)
	if gained > 0 {
		f.share += (1 - f.share) * gained / (gained + o.rest)
	}
	if !f.resumed && f.work == 0 { // of a datadir that does not say how much it has
		f.share = max(f.share, e.Accounts.Kept)
	}
	f.share, f.work = min(f.share, 1), now
	o.share = f.share
	return o
}

// toCome estimates the work that is to come, and its range.
func (f *forecast) toCome(e trie.Extent) (rest, low, high float64) {
	unseen, all := e.Accounts.Rest(), f.earlier.Plus(e)
	certain := unseen*f.accounts*accountWork + e.Open*slotWork
	if all.Sized == 0 || all.Accounts.Seen == 0 {
		return certain, certain, certain
	}
	tries := e.Tries - e.Sized + unseen*all.Tries/all.Accounts.Seen
	others := all.Size - all.Largest
	expected := tries * (others + min(all.Largest, others*maxLargest)) / all.Sized * slotWork
	ratio := tries / all.Sized
	spread := confidence * math.Sqrt(all.Squares*(ratio+ratio*ratio)) * slotWork
	return certain + expected, certain + max(0, expected-spread), certain + expected + spread
}

// end begins with a new walk.
func (f *forecast) end(e trie.Extent) {
	f.update(e)
	f.earlier = f.earlier.Plus(e)
	f.earlier.Open, f.earlier.Accounts.Kept = 0, 0
	f.work = 0
	f.resumed = true
}

func work(e trie.Extent) float64 { return e.Accounts.Leaves*accountWork + e.Slots*slotWork }
