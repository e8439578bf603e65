package beamsync

import (
	"sync/atomic"
	"time"
)

const (
	// calm is how long after a block's last wait for the network the next one is still expected,
	// while that block is in work: what runs between two trips.
	calm = 100 * time.Millisecond
	// stuck is after which time without any reply a wait holds nobody else up: peers do not have
	// what it wants, so leaving the network to it is of no use.
	stuck = 10 * time.Second
)

// urgency says whether blocks wait for the network. It is safe for concurrent use.
type urgency struct {
	open atomic.Int32 // waits that have not ended
	last atomic.Int64 // when one began or ended, Unix nanoseconds
}

func (u *urgency) begin() { u.change(1) }

func (u *urgency) end() { u.change(-1) }

func (u *urgency) change(n int32) {
	u.last.Store(time.Now().UnixNano())
	u.open.Add(n)
}

// Urgent says whether a block waits for state from the network. A block that is inWork does so
// also for a moment after a wait: before the next one.
func (f *Fetcher) Urgent(inWork bool) bool {
	since := time.Since(time.Unix(0, f.urgent.last.Load()))
	return since < stuck && f.urgent.open.Load() > 0 || inWork && since < calm
}

// Working says whether a block is being collected or executed: not one that waits for its parent.
func (i *Importer) Working() bool { return len(i.slots) > 0 }

// WantAncestors asks for headers below those that are held; they come when a peer has them.
func (i *Importer) WantAncestors() { i.wantAncestors() }
