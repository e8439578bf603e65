// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// TestAlone: a full node without peers is SYNCING at once for what lacks an ancestor, and goes on when that comes. It waits while
// a peer may come soon, and so does a beaming node.
func TestAlone(t *testing.T) {
	n := newNetwork(t, params.MergedTestChainConfig, 12)
	var alone atomic.Int64
	alone.Store(int64(alonePatience))
	inBubbleOn(t, n, 30, func(f *fixture) {
		f.set(100*time.Millisecond, true) // no peer answers
		f.follow(1, 3)
		syncing := func(what string, want time.Duration, call func() Outcome) {
			t.Helper()
			began := time.Now()
			if f.want(what, call(), Syncing); time.Since(began) != want {
				t.Errorf("%s: after %v, want %v", what, time.Since(began), want)
			}
		}
		payload := func(number int) func() Outcome {
			return func() Outcome { return f.payload(f.at(number), time.Minute) }
		}
		head := func(hash common.Hash) func() Outcome {
			return func() Outcome {
				outcome, err := f.choose(hash, common.Hash{}, common.Hash{}, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				return outcome
			}
		}
		for range 2 {
			syncing("without parent", 0, payload(8))
			syncing("on such a block", 0, payload(9))
			syncing("that as the head", 0, head(f.at(9).Hash()))
			syncing("unknown head", 0, head(common.Hash{1}))
		}
		for number := 4; number <= 9; number++ {
			f.want("in order", f.payload(f.at(number), time.Minute), Valid)
		}
		f.follow(10, 10)
		alone.Store(int64(alonePatience) - 1)
		syncing("with hope for a peer", time.Minute, payload(12))
		f.importer.SwitchToBeaming()
		alone.Store(int64(alonePatience))
		syncing("beaming", time.Minute, payload(12))
	}, func(cfg *Config) {
		cfg.Local, cfg.Alone = n.states, func() time.Duration { return time.Duration(alone.Load()) }
		cfg.States = &newestStates{states: n.states, keep: 128, roots: []common.Hash{n.genesis.ToBlock().Root()}}
	})
}
