// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"github.com/sunbeam-eth/sunbeam/p2p"
)

// TestImportUnderFlood: peers ask for all that they can, all the time, over real connections.
// The node serves them and imports each block within one call all the same.
func TestImportUnderFlood(t *testing.T) {
	peers := 12
	if testing.Short() {
		peers = 4
	}
	genesis := pragueGenesis()
	blocks := chainOn(genesis, nil, 60, 0)
	cfg := localConfig(t)
	check(t, Init(cfg, genesis, discard))
	check(t, Import(t.Context(), cfg, []string{chainFile(t, "a.rlp", blocks[:20]...)}, discard))
	n := start(t, cfg)

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var answered, leaves atomic.Int64
	root := blocks[19].Root()
	joined := make(chan struct{}, peers)
	for range peers {
		key, err := crypto.GenerateKey()
		check(t, err)
		host, err := p2p.New(p2p.Config{
			PrivateKey: key, Name: "flood", MaxPeers: 1, Discovery: p2p.Discovery{NoDiscovery: true}, StaticNodes: []*enode.Node{n.host.Self()},
			NetworkID: n.networkID(), Chain: n.chain, Log: discard,
			OnJoin: func(p *p2p.Peer) {
				joined <- struct{}{}
				for range 8 { // requests in flight
					running.Go(func() {
						for ctx.Err() == nil {
							accounts, err := p.AccountRange(ctx, root, common.Hash{}, common.MaxHash, 1<<40)
							if err != nil {
								return
							}
							answered.Add(1)
							leaves.Add(int64(len(accounts.Accounts)))
						}
					})
				}
			},
		})
		check(t, err)
		running.Go(func() { _ = host.Run(ctx) }) // it ends with ctx
	}
	for range peers {
		select {
		case <-joined:
		case <-time.After(20 * time.Second):
			t.Fatal("a peer does not get in")
		}
	}
	before := answered.Load()
	for _, block := range blocks[20:] {
		bring(t, n, block) // VALID at the first call
	}
	during := answered.Load() - before
	if during == 0 || leaves.Load() == 0 {
		t.Errorf("%d requests answered while blocks were imported, %d leaves in all", during, leaves.Load())
	}
	if left := len(n.host.Peers()); left != peers {
		t.Errorf("%d of %d peers are left", left, peers)
	}
	t.Logf("%d blocks imported, %d requests answered meanwhile", len(blocks)-20, during)
	cancel()
	running.Wait()
	n.stop(t)
}
