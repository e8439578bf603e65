// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	gethhistory "github.com/ethereum/go-ethereum/core/history"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/history"
	"github.com/sunbeam-eth/sunbeam/logindex"
)

// newHistory makes the chain backfill, which fetches the blocks below the first executed one.
func (n *Node) newHistory(registerer prometheus.Registerer) {
	cfg := history.Config{
		Chain: n.chain, OldChain: n.fetcher, Slots: n.historySlots, Log: n.log, Registerer: registerer,
	}
	cfg.Blocks, cfg.PostMerge = n.cfg.History.Wanted()
	policy := gethhistory.HistoryPolicy{Mode: gethhistory.KeepPostMerge}
	if known, err := policy.Resolve(n.chain.Genesis().Hash()); err == nil && known.Target != nil {
		cfg.Merge = known.Target.BlockNumber
	}
	n.history = history.New(cfg)
}

// collecting says whether blocks are still missing that the node is to have.
type collecting struct{ *history.History }

// Collecting implements rpc.History.
func (c collecting) Collecting() bool { return c.Progress().Remaining > 0 }

// historySlots is how many requests the chain backfill may have in flight: none while a block is pending.
func (n *Node) historySlots() int {
	if len(n.importer.Status().Pending) > 0 {
		return 0
	}
	return history.Slots
}

// newLogIndex makes the log index.
func (n *Node) newLogIndex(registerer prometheus.Registerer) {
	n.logs = logindex.New(logindex.Config{
		Chain: n.chain, Store: n.store.Chain().KeyValue(), Blocks: n.cfg.History.Logs, Disabled: n.cfg.History.LogsDisabled, Distrust: n.lost,
		Busy:    n.importer.Working,
		Settled: func() bool { return n.history.Progress().Remaining == 0 },
		Log:     n.log, Registerer: registerer,
	})
}
