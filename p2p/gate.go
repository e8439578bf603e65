// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"time"
)

// Gate limits how many requests the node serves at the same time, over all peers, so that
// serving leaves the processors to the node's own blocks.
type Gate struct {
	slots chan struct{}
	busy  func() bool // may be nil
}

const (
	// gatePause is how long a request waits at most while the node executes blocks: peers get
	// a small share of the processors even if execution never pauses.
	gatePause = 200 * time.Millisecond
	// gateTick is how often a waiting request checks whether execution has ended.
	gateTick = 5 * time.Millisecond
)

// NewGate returns a gate with n slots. busy reports whether the node executes a block now; it
// may be nil.
func NewGate(n int, busy func() bool) *Gate {
	return &Gate{slots: make(chan struct{}, n), busy: busy}
}

func (g *Gate) enter(ctx context.Context) error {
	if g == nil {
		return ctx.Err()
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.busy == nil {
		return nil
	}
	for waited := time.Duration(0); waited < gatePause && g.busy(); waited += gateTick {
		select {
		case <-time.After(gateTick):
		case <-ctx.Done():
			g.leave()
			return ctx.Err()
		}
	}
	return nil
}

func (g *Gate) leave() {
	if g != nil {
		<-g.slots
	}
}
