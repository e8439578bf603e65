// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestQueryEndsWhenNobodyServes: a query ends at once without peers, and soon when no peer has the state; other sessions
// wait. A query goes on while one peer may have it.
func TestQueryEndsWhenNobodyServes(t *testing.T) {
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		present, absent := beamtest.RootFault(1), beamtest.RootFault(1)
		absent.Root, absent.Hash = common.Hash{1}, common.Hash{2}
		unavailable := func(fault trie.Fault, within time.Duration) {
			t.Helper()
			begin := time.Now()
			if _, err := r.Query(sched.RPC).FetchNode(r.Ctx, fault); !errors.Is(err, trie.ErrUnavailable) {
				t.Errorf("error %v", err)
			}
			if took := time.Since(begin); took > within {
				t.Errorf("after %v, want %v", took, within)
			}
		}
		unavailable(present, 0)
		stateless := beamtest.NewFakePeer("stateless", beamtest.RTT)
		stateless.NoState = true
		r.Connect(stateless)
		unavailable(present, 0)

		waited := make(chan error, 1)
		go func() {
			_, err := r.Session(sched.RPC).FetchNode(r.Ctx, present)
			waited <- err
		}()
		a, b := beamtest.NewFakePeer("a", beamtest.RTT), beamtest.NewFakePeer("b", 2*beamtest.RTT)
		r.Connect(a, b)
		if err := <-waited; err != nil {
			t.Error(err)
		}
		unavailable(absent, time.Second)
		unavailable(absent, time.Second)
		if err := r.Query(sched.RPC).FetchMany(r.Ctx, []trie.Fault{absent, beamtest.RootFault(2)}, nil); !errors.Is(err, trie.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		r.Disconnect(b)
		if _, err := r.Query(sched.RPC).FetchNode(r.Ctx, beamtest.RootFault(3)); err != nil {
			t.Errorf("of a state that is served: %v", err)
		}
	})
}
