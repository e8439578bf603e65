// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"testing"

	"github.com/ethereum/go-ethereum/core/types/bal"

	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/evm"
)

// TestWrongAccessList prefetches a real block by a list that leaves out half of what it reads and
// names a lot that it does not read, from a peer that has none of that: the prefetch ends, and the
// execution fetches the rest.
func TestWrongAccessList(t *testing.T) {
	file := beamtest.LoadWitness(t, "1-21688509")
	wrong := beamtest.WithLie(withList(t, file), func(list bal.BlockAccessList) bal.BlockAccessList {
		return beamtest.Sorted(append(list[:len(list)/2], beamtest.MadeUp(300, 10)...))
	})
	beamtest.InBubble(t, func(r *beamtest.Rig) {
		beamtest.JoinWitness(r, file, "a")
		trips, stats := prefetchAndExecute(t, r, evm.NewExecutor(file.Config), file, wrong)
		if need := uint64(len(file.Nodes)); trips > 200 || stats.Nodes > 2*need {
			t.Errorf("%.1f trips, %+v", trips, stats)
		}
		t.Logf("%.1f trips, %+v", trips, stats)
	})
}
