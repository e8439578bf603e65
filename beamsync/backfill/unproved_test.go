// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
)

// cuttingLink is a full peer whose storage iterators end early in one of so many replies, as geth's do when a block
// comes: one list is cut and has no proof, or it is absent, and others take its place.
type cuttingLink struct {
	fullLink
	every int
	calls *int
	cut   *int
}

func (p cuttingLink) StorageLeaves(ctx context.Context, root common.Hash, accounts []common.Hash, origin, limit common.Hash, maxBytes uint64) ([][]common.Hash, [][][]byte, [][]byte, error) {
	p.mu.Lock()
	*p.calls++
	calls := *p.calls
	p.mu.Unlock()
	keys, values, proof, err := p.fullLink.StorageLeaves(ctx, root, accounts, origin, limit, maxBytes)
	if err != nil || calls%p.every != 0 || len(keys) == 0 || origin != (common.Hash{}) {
		return keys, values, proof, err
	}
	p.mu.Lock()
	*p.cut++
	p.mu.Unlock()
	if at := calls % len(keys); calls%2 == 0 && len(keys) > 1 { // at its first leaf: the account is left out
		keys, values = append(keys[:at:at], keys[at+1:]...), append(values[:at:at], values[at+1:]...)
	} else {
		n := len(keys[at]) / 2
		keys[at], values[at] = keys[at][:n:n], values[at][:n:n]
	}
	return keys, values, nil, nil
}

// TestStorageCutWithoutProof: an honest geth sends wrong storage tries now and then. It is not banned for them, and the state is completed.
// One that sends nothing else is not asked for ranges any more, and the state comes node by node.
func TestStorageCutWithoutProof(t *testing.T) {
	for name, every := range map[string]int{"seldom": 7, "often": 2, "always": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				state := newTestState(60_000, 60_000, 0)
				w := newSwarmNet(t, 1<<20, state)
				n := w.start("node", state)
				n.Leave("full")
				link := cuttingLink{fullLink: fullLink{w.full, "node"}, every: every, calls: new(int), cut: new(int)}
				n.Join(link)
				n.finish(time.Hour)
				if *link.cut == 0 {
					t.Fatal("no reply was cut")
				}
				if reason, ok := n.blames["full"]; ok && (every > 1 || reason != peer.BlameUseless) {
					t.Errorf("the peer is blamed: %v", reason)
				}
				t.Logf("%d of %d replies cut, complete after %v", *link.cut, *link.calls, n.took)
			})
		})
	}
}
