// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// BenchmarkBackfillByHash collects a state of plain accounts from a peer in memory that serves
// nodes by hash, into a database on disk. It measures the walk itself.
func BenchmarkBackfillByHash(b *testing.B) {
	state := newLeafState(300_000, 0)
	peer := newDataServer("a", state)
	peer.delay = 0
	b.ReportAllocs()
	for b.Loop() {
		d, err := db.Open(b.TempDir(), db.Options{CacheMB: 256, Handles: 256})
		if err != nil {
			b.Fatal(err)
		}
		store := d.Complete()
		fill := New(Config{
			Complete: store, Writer: func() trie.CompleteWriter { return store.Writer() }, Local: trie.NewCache(4<<20, d.Hot()),
			Source: &nodeSource{found: make(map[common.Hash][]byte)}, Recent: func() (Target, bool) { return Target{Root: state.root, Number: 5}, true },
		})
		fill.Join(peer)
		if err := fill.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(state.nodes))*float64(b.N)/b.Elapsed().Seconds(), "nodes/s")
}
