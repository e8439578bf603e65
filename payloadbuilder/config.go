// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"cmp"
	"context"
	"log/slog"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Chain has the parents of payloads; *chain.Chain implements it.
type Chain interface {
	Config() *params.ChainConfig
	CurrentHeader() *types.Header
	Header(hash common.Hash) *types.Header
	SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription
}

// Executor executes transactions and blocks; *evm.Executor implements it.
type Executor interface {
	NewDraft(ctx context.Context, job evm.DraftJob) (*evm.Draft, error)
	Execute(ctx context.Context, job evm.Job) *evm.Result
}

// Pool has the transactions; *pool.Pool implements it.
type Pool interface {
	// Pending returns executable transactions by sender, in the order of their nonces.
	Pending(filter txpool.PendingFilter) map[common.Address][]*txpool.LazyTransaction
	// Moved returns what is closed when the pool is next on another head.
	Moved() <-chan struct{}
}

// State is the local part of the state under one root.
type State struct {
	trie.Store
	Complete bool // nothing is missing
}

// Fetcher gets missing state from peers into the local store, in a class below that of blocks. The methods block until
// that is done, ctx ends or nothing more can be had.
type Fetcher interface {
	// Prefetch gets what a block is expected to read of its parent's state. The block need not be valid.
	Prefetch(ctx context.Context, block *types.Block, parent *types.Header) error
	// Fetch gets nodes and codes.
	Fetch(ctx context.Context, faults []trie.Fault, codes []common.Hash) error
}

// Settings are what the operator chooses. The zero value of a field is go-ethereum's default (miner.DefaultConfig).
type Settings struct {
	GasPrice  *big.Int      // wei: lowest tip per gas of a transaction; nil: 0.001 gwei
	GasLimit  uint64        // gas limit that blocks move to; zero: 60,000,000
	ExtraData []byte        // at most 32 bytes
	Recommit  time.Duration // between rounds; zero: 2 s
	MaxBlobs  int           // blobs of a block; zero: the limit of the fork
}

// Config is what a [Builder] depends on. Log and Registerer are optional.
type Config struct {
	Chain    Chain
	Executor Executor
	Pool     Pool
	State    func(root common.Hash) State
	Fetcher  Fetcher
	Busy     func() bool // a block is being imported: rounds pause
	Settings Settings

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	defaultGasPrice = params.GWei / 1000
	defaultGasLimit = 60_000_000
	defaultRecommit = 2 * time.Second
)

func (s Settings) withDefaults() Settings {
	if s.GasPrice == nil {
		s.GasPrice = big.NewInt(defaultGasPrice)
	}
	s.GasLimit = cmp.Or(s.GasLimit, defaultGasLimit)
	s.Recommit = cmp.Or(s.Recommit, defaultRecommit)
	return s
}
