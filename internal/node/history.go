// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"cmp"
	"errors"

	gethhistory "github.com/ethereum/go-ethereum/core/history"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/history"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/logindex"
)

// newHistory makes the chain backfill, which fetches the blocks below the first executed one.
func (n *Node) newHistory(registerer prometheus.Registerer) {
	cfg := history.Config{
		Chain: n.chain, OldChain: n.fetcher, Slots: n.historySlots, Log: n.log, Registerer: registerer,
	}
	var fork string
	cfg.Blocks, fork = n.cfg.History.Wanted()
	cfg.TooOld = n.beforeFork(fork)
	if point, err := n.cutoff(); err == nil {
		cfg.First = point.BlockNumber
	}
	if first, ok := n.cfg.History.FirstBlock(); ok {
		cfg.TooOld = func(header *types.Header) bool { return header.Number.Uint64() < first.BlockNumber }
	}
	n.history = history.New(cfg)
}

// cutoff is the first block that --history.chain wants, if it names a block, or a fork of which go-ethereum knows the block.
func (n *Node) cutoff() (gethhistory.PrunePoint, error) {
	var policy gethhistory.HistoryPolicy
	if err := policy.UnmarshalText([]byte(n.cfg.History.Chain)); err != nil {
		return gethhistory.PrunePoint{}, err
	}
	known, err := policy.Resolve(n.chain.Genesis().Hash())
	if err != nil || known.Target == nil {
		return gethhistory.PrunePoint{}, cmp.Or(err, errNoCutoff)
	}
	return *known.Target, nil
}

var errNoCutoff = errors.New("all blocks are wanted")

// collecting says whether blocks are still missing that the node is to have.
type collecting struct{ *history.History }

// Collecting implements rpc.History.
func (c collecting) Collecting() bool { return c.Progress().Remaining > 0 }

// beforeFork says which blocks are older than a fork of config.History; nil: none.
func (n *Node) beforeFork(fork string) func(*types.Header) bool {
	rules := n.chain.Config()
	switch fork {
	case config.HistoryPostMerge:
		return func(header *types.Header) bool { return header.Difficulty.Sign() > 0 }
	case config.HistoryPostPrague:
		return func(header *types.Header) bool { return !rules.IsPrague(header.Number, header.Time) }
	case config.HistoryPostOsaka:
		return func(header *types.Header) bool { return !rules.IsOsaka(header.Number, header.Time) }
	}
	return nil
}

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
