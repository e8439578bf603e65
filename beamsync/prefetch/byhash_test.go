// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/evm"
)

// TestRealBlockByHash executes a real block from an empty store and a peer that serves its
// witness by hash only.
func TestRealBlockByHash(t *testing.T) {
	file := beamtest.LoadWitness(t, "1-9069000")
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		peer := beamtest.NewHashPeer("a")
		peer.Data = func(hash common.Hash) []byte {
			if code := file.Codes[hash]; code != nil {
				return code
			}
			return file.Nodes[hash]
		}
		r.Join(peer)
		trips, stats := prefetchAndExecute(t, r, evm.NewExecutor(file.Config), file, file.Block)
		// Paths that are requested at different times share nodes, which arrive more than once.
		if need := uint64(len(file.Nodes)); stats.Nodes > need*5/4 {
			t.Errorf("%d nodes fetched, the witness has %d", stats.Nodes, need)
		}
		t.Logf("%.1f trips, %+v", trips, stats)
	})
}
