// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
)

// TestOldBlocksAmongSilentPeers: peers that announce to have all blocks and answer nothing do not slow the chain backfill of a node
// with one good peer by more than half.
func TestOldBlocksAmongSilentPeers(t *testing.T) {
	const rounds = 200
	took := make(map[int]time.Duration)
	for _, silent := range []int{0, 24} {
		beamtest.InBubble(t, func(r *beamtest.Rig) {
			blocks, lists := testChain(5)
			for i := range silent {
				p := beamtest.ChainPeerOf(fmt.Sprintf("silent %02d", i), beamtest.Serve(nil, nil))
				p.Stall = func(int) bool { return true }
				r.Connect(p)
			}
			r.Connect(beamtest.ChainPeerOf("z", beamtest.Serve(blocks, lists)))
			headers, err := r.Headers(r.Ctx, blocks[4].Hash(), 3)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for range rounds {
				if bodies, err := r.OldBodies(r.Ctx, headers); err != nil || !hasAll(bodies) {
					t.Fatal(bodies, err)
				}
			}
			took[silent] = time.Since(began)
		})
	}
	if 2*took[24] > 3*took[0] {
		t.Errorf("%v instead of %v", took[24], took[0])
	}
}
