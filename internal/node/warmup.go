// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/beamsync/warmup"
	"github.com/sunbeam-eth/sunbeam/evm"
)

// newWarmup makes the warm-up, unless its budget is zero. It reads the blocks that the chain backfill brings.
func (n *Node) newWarmup(executor *evm.Executor, prefetcher *prefetch.Prefetcher, registerer prometheus.Registerer) {
	if n.cfg.Beam.WarmupMB == 0 {
		return
	}
	n.warmup = warmup.New(warmup.Config{
		Chain:       n.chain,
		Store:       n.local,
		Session:     n.fetcher.Session(sched.Background),
		Prefetcher:  prefetcher,
		Executor:    executor,
		Headers:     ancestors{n.chain, n.fetcher},
		AccessLists: n.fetcher.AccessLists,
		Ready: func() bool {
			return n.importer.Phase() == importer.Beaming && n.chain.CurrentHeader().Number.Uint64() > n.began
		},
		Busy:       n.importer.Working,
		Settled:    func() bool { return n.history.Progress().Remaining == 0 },
		Budget:     uint64(n.cfg.Beam.WarmupMB) << 20,
		Log:        n.log,
		Registerer: registerer,
	})
}
