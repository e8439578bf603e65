// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// newPayloads makes the payload builder.
func (n *Node) newPayloads(executor *evm.Executor, prefetcher *prefetch.Prefetcher, registerer prometheus.Registerer) {
	cfg := &n.cfg.Miner
	extra := []byte(cfg.ExtraData)
	if len(extra) == 0 {
		extra = []byte("Sunbeam/" + Version())
		extra = extra[:min(len(extra), int(params.MaximumExtraDataSize))]
	}
	n.payloads = payloadbuilder.New(payloadbuilder.Config{
		Chain:    n.chain,
		Executor: executor,
		Pool:     n.pool,
		State:    n.payloadState,
		Fetcher:  payloadFetcher{predictor{ancestors{n.chain, n.fetcher}, prefetcher, sched.Predictive}},
		Busy:     n.importer.Working,
		Settings: payloadbuilder.Settings{
			GasPrice: new(big.Int).SetUint64(cfg.GasPrice), GasLimit: cfg.GasLimit, ExtraData: extra,
			Recommit: cfg.Recommit, MaxBlobs: cfg.MaxBlobs,
		},
		Log:        n.log,
		Registerer: registerer,
	})
}

// payloadState is the local part of a state.
func (n *Node) payloadState(root common.Hash) payloadbuilder.State {
	store, complete := n.localState(root)
	return payloadbuilder.State{Store: store, Complete: complete}
}

// payloadFetcher gets state for payloads in the class of predictions: behind blocks and users.
type payloadFetcher struct{ predictor }

// Fetch implements payloadbuilder.Fetcher.
func (f payloadFetcher) Fetch(ctx context.Context, faults []trie.Fault, codes []common.Hash) error {
	return f.fetcher.Session(f.class).FetchMany(ctx, faults, codes)
}
