// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/txpool/blobpool"
	"github.com/ethereum/go-ethereum/core/txpool/legacypool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/event"
	"github.com/ethereum/go-ethereum/params"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/chain"
)

var (
	// ErrUnavailable says that the account of the sender could not be read now. It says nothing about
	// the transaction.
	ErrUnavailable = errors.New("state unavailable, try again")
	// ErrNotReady says that the node is far from the head, so that there is no state to validate a transaction
	// against. It is wrapped with the reason.
	ErrNotReady = errors.New("transaction pool is not ready")
)

// Chain is the chain that the pool follows; *chain.Chain implements it.
type Chain interface {
	Config() *params.ChainConfig
	CurrentHeader() *types.Header
	Finalized() *types.Header // nil: none yet
	Block(hash common.Hash) *types.Block
	SubscribeHead(ch chan<- chain.HeadEvent) event.Subscription
}

// StateDatabase is the state under one root. Err is its error latch: the first read that failed.
type StateDatabase interface {
	state.Database
	Err() error
}

// States opens states. Reads of what is opened may fetch until ctx ends.
type States interface {
	Open(ctx context.Context, root common.Hash) (StateDatabase, error)
}

// Config configures a pool. Chain, Users, Peers and Ready are required.
type Config struct {
	Chain Chain
	Users States       // read for transactions that users send
	Peers States       // read for peers and on new heads, at a lower priority than Users
	Ready func() error // why transactions cannot be validated on the head; nil if they can

	BlobDir string // directory of the blob transactions; empty: they are kept in memory
	// SetAside renames a BlobDir that does not open, and returns its new path; nil: that it does not open is an error.
	SetAside func(path string) (string, error)
	Limits   Limits
	Locals   Locals

	Log        *slog.Logger          // may be nil
	Registerer prometheus.Registerer // may be nil
}

// Limits bound the pool. Zero is go-ethereum's default.
type Limits struct {
	PriceLimit  uint64 // wei: lowest tip per gas that is accepted
	PriceBump   uint64 // percent that a plain transaction must pay more to replace another
	GlobalSlots uint64 // executable transactions of all accounts, in slots of 32 KiB
	GlobalQueue uint64 // those that are not executable yet
	BlobDataCap uint64 // bytes on disk for blob transactions

	AccountSlots uint64        // executable transactions that an account may have in any case, in slots
	AccountQueue uint64        // those of an account that are not executable yet
	Lifetime     time.Duration // of these
}

// legacy is go-ethereum's configuration of the pool of plain transactions. See locals for the journal.
func (l Limits) legacy() legacypool.Config {
	cfg := legacypool.DefaultConfig
	cfg.NoLocals, cfg.Journal = true, ""
	set(&cfg.PriceLimit, l.PriceLimit)
	set(&cfg.PriceBump, l.PriceBump)
	set(&cfg.GlobalSlots, l.GlobalSlots)
	set(&cfg.GlobalQueue, l.GlobalQueue)
	set(&cfg.AccountSlots, l.AccountSlots)
	set(&cfg.AccountQueue, l.AccountQueue)
	cfg.Lifetime = cmp.Or(l.Lifetime, cfg.Lifetime)
	return cfg
}

func (l Limits) blob(dir string) blobpool.Config {
	cfg := blobpool.DefaultConfig
	cfg.Datadir = dir
	set(&cfg.Datacap, l.BlobDataCap)
	return cfg
}

// tip is the lowest tip in wei.
func (l Limits) tip() uint64 { return l.legacy().PriceLimit }

func set(field *uint64, value uint64) {
	if value != 0 {
		*field = value
	}
}
