// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// walkCache is the memory for nodes that the backfill finds in Hot, in bytes. The walk visits each node once,
// so there is little to cache, and it must not evict the nodes of blocks.
const walkCache = 4 << 20

// newBackfill makes the backfill.
func (n *Node) newBackfill(registerer prometheus.Registerer) error {
	if !n.cfg.Beam.Backfill {
		return nil
	}
	self, err := n.nodeID()
	if err != nil {
		return err
	}
	complete := n.store.Complete()
	n.backfill = backfill.New(backfill.Config{
		Complete: complete,
		Writer:   func() trie.CompleteWriter { return complete.Writer() },
		Local:    trie.NewCache(walkCache, n.store.Hot()),
		Source:   n.fetcher.Session(sched.Background),
		Recent:   n.backfillTarget,
		Canonical: func(target backfill.Target) bool {
			header := n.chain.HeaderByNumber(target.Number)
			return header != nil && header.Root == target.Root
		},
		Busy:       func() bool { return n.fetcher.Urgent(n.importer.Working()) },
		Rate:       uint64(n.cfg.Beam.BackfillRate) * 1000,
		Share:      n.share,
		Self:       self,
		Announce:   func() { n.host.SwarmChanged() },
		StateOf:    n.usableRoot,
		Book:       n.book,
		Log:        n.log,
		Registerer: registerer,
	})
	return nil
}

// backfillTarget is the state of the executed head. There is none on a fresh node: the state of
// genesis is complete, and of no use to a chain that has gone on for years. All nodes begin the scan
// at the same seed, so there is none either until the header of the seed block is here.
func (n *Node) backfillTarget() (backfill.Target, bool) {
	head := n.chain.CurrentHeader()
	number := head.Number.Uint64()
	if number == 0 {
		return backfill.Target{}, false
	}
	seed := n.chain.CanonicalHash(number - number%backfill.SeedInterval)
	if seed == (common.Hash{}) {
		n.importer.WantAncestors()
		return backfill.Target{}, false
	}
	return backfill.Target{Root: head.Root, Number: number, Seed: seed}, true
}
