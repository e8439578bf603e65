// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// TestRealBlocksThroughFetcher executes real blocks from an empty store, their witness
// on the other end of a link of 100 ms. Fetching is all that takes (virtual) time.
func TestRealBlocksThroughFetcher(t *testing.T) {
	dir := realdata.Dir(t)
	for _, name := range []string{"1-21688509", "1-17106222", "560048-974567"} {
		t.Run(name, func(t *testing.T) {
			file, err := witnessfile.Load(filepath.Join(dir, "blocks", name+".json.gz"))
			if err != nil {
				t.Fatal(err)
			}
			beamtest.InBubble(t, func(r *beamtest.Rig) {
				peer := beamtest.NewFakePeer("a", beamtest.RTT)
				peer.Codes = file.Codes
				peer.Nodes = func(root common.Hash, sets [][][]byte, maxLookups int) [][]byte {
					return beamtest.WitnessNodes(file, root, sets, maxLookups)
				}
				r.Connect(peer)
				session := r.Session(sched.Urgent)
				began := time.Now()
				ctx, cancel := context.WithTimeout(r.Ctx, 10*time.Minute) // virtual: no stall is longer
				defer cancel()
				result := evm.NewExecutor(file.Config).Execute(ctx, evm.Job{
					Block: file.Block, Parent: file.Parent, Headers: file,
					State: trie.Open(ctx, file.PreRoot, r.Cache, session),
				})
				if result.Outcome != evm.Valid {
					t.Fatalf("%v: %v", result.Outcome, result.Err)
				}
				stats, took := session.Stats(), time.Since(began)
				if got := r.Blames.All(); len(got) != 0 {
					t.Error("blames", got)
				}
				// Trips say what time says: one after another, each a round trip.
				if d := took - time.Duration(stats.Trips)*beamtest.RTT; d.Abs() > took/20 {
					t.Errorf("%d trips took %v", stats.Trips, took)
				}
				if need := uint64(len(file.Nodes)); stats.Nodes < need*9/10 || stats.Nodes > need*11/10 {
					t.Errorf("%d nodes fetched, the witness has %d", stats.Nodes, need)
				}
				t.Logf("%d txs, %d nodes in the witness: %+v, %v", len(file.Block.Transactions()), len(file.Nodes), stats, took)
			})
		})
	}
}
