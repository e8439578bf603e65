// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/core/filtermaps"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/chain"
)

const (
	headBuffer     = 64                     // events of the chain, which waits for each reader
	busyPoll       = 100 * time.Millisecond // how often it is looked whether a block is being imported
	reportInterval = 8 * time.Second        // as the other parts of the node report
	// retryPause bounds how often the index begins anew because of damage: the cause may be that of the chain, and last.
	retryPause = time.Minute
	// firstWrite bounds how long filter maps that begin with nothing take to their first write, much else to do included.
	firstWrite = 2 * time.Minute
)

// Config is what an [Index] works with. Chain and Store are required.
type Config struct {
	Chain    Chain
	Store    ethdb.KeyValueStore // chaindata
	Blocks   uint64              // how many of the newest blocks are indexed; zero: all that are stored
	Disabled bool                // nothing is indexed, and what was is deleted
	Distrust bool                // what is on disk is not used: the database lost content
	Busy     func() bool         // whether a block is being imported; nil: never
	Settled  func() bool         // whether Chain's oldest block is as low as it is going to be; nil: it is

	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: metrics are not exported
}

// Index is the log index of a node. Searches may run at any time, before and after Run as well.
type Index struct {
	cfg     Config
	metrics *metrics
	maps    atomic.Pointer[filtermaps.FilterMaps] // nil while there are none
	damaged chan damageError                      // found by a search
	report  reporter
}

// New makes an index that has nothing until it runs.
func New(cfg Config) *Index {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Busy == nil {
		cfg.Busy = func() bool { return false }
	}
	if cfg.Settled == nil {
		cfg.Settled = func() bool { return true }
	}
	return &Index{cfg: cfg, metrics: newMetrics(cfg.Registerer), damaged: make(chan damageError, 1)}
}

// errRestart ends one life of the index, so that it begins anew.
var errRestart = errors.New("log index begins anew")

// errIncomplete is why filter maps stop working.
var errIncomplete = errors.New("parts of it or receipts are missing")

// damageError is a restart because of damage.
type damageError struct {
	cause error
	maps  *filtermaps.FilterMaps // what was searched
}

func (e damageError) Error() string { return e.cause.Error() }

// Run keeps the index up with the chain until ctx ends. An error is one of the store.
func (x *Index) Run(ctx context.Context) error {
	if x.cfg.Disabled {
		return x.remove(ctx)
	}
	heads := make(chan chain.HeadEvent, headBuffer)
	sub := x.cfg.Chain.SubscribeHead(heads)
	defer sub.Unsubscribe()
	if x.cfg.Distrust {
		if err := x.drop(); err != nil {
			return err
		}
	}
	for {
		err := x.follow(ctx, heads)
		var damage damageError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &damage):
			x.cfg.Log.Warn("Log index is damaged: building it anew, logs are searched by blooms meanwhile", "err", damage.cause)
		case !errors.Is(err, errRestart):
			return fmt.Errorf("log index: %w", err)
		}
		if err := x.drop(); err != nil {
			return err
		}
		if damage.cause != nil && !x.pause(ctx, heads) {
			return nil
		}
	}
}

// pause lets time pass after damage. It returns false if ctx ends.
func (x *Index) pause(ctx context.Context, heads <-chan chain.HeadEvent) bool {
	if !x.report.damagedAgain(time.Now()) {
		return true
	}
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	for {
		select {
		case <-heads:
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// remove deletes what is on disk.
func (x *Index) remove(ctx context.Context) error {
	err := rawdb.DeleteFilterMapsDb(x.cfg.Store, false, func(bool) bool { return ctx.Err() != nil })
	if err != nil && !errors.Is(err, rawdb.ErrDeleteRangeInterrupted) {
		return fmt.Errorf("delete log index: %w", err)
	}
	return nil
}

// drop forgets what is on disk. Filter maps delete it when they begin.
func (x *Index) drop() error {
	b := x.cfg.Store.NewBatch()
	rawdb.DeleteFilterMapsRange(b)
	if err := b.Write(); err != nil {
		return fmt.Errorf("drop log index: %w", err)
	}
	return nil
}

// follow runs filter maps until ctx ends (nil), they must begin anew (errRestart, damageError) or the store fails.
func (x *Index) follow(ctx context.Context, heads <-chan chain.HeadEvent) error {
	if stale, err := x.stale(); err != nil || stale {
		return errors.Join(err, errRestart)
	}
	v := newValve(x.cfg.Store)
	indexed := blocks{x.cfg.Chain, v.suspects}
	view := indexed.view(x.cfg.Chain.CurrentHeader())
	for view == nil { // the head has just changed
		select {
		case <-heads:
			view = indexed.view(x.cfg.Chain.CurrentHeader())
		case <-ctx.Done():
			return nil
		}
	}
	maps, err := filtermaps.NewFilterMaps(v, view, x.cfg.Chain.Oldest(), number(x.cfg.Chain.Finalized()), filtermaps.DefaultParams,
		filtermaps.Config{History: x.cfg.Blocks})
	if err != nil {
		return err
	}
	maps.Start()
	defer func() {
		x.maps.Store(nil)
		v.close()
		maps.Stop()
	}()
	return x.steer(ctx, maps, v, heads)
}

// steer tells filter maps what to index and when to pause, and watches them.
func (x *Index) steer(ctx context.Context, maps *filtermaps.FilterMaps, v *valve, heads <-chan chain.HeadEvent) error {
	poll, report := time.NewTicker(busyPoll), time.NewTicker(reportInterval)
	defer poll.Stop()
	defer report.Stop()
	checking, cancel := context.WithCancel(ctx)
	check := x.startCheck(checking, maps)
	defer func() {
		cancel()
		for range check {
		}
	}()
	checked, indexed, busy := check, blocks{x.cfg.Chain, v.suspects}, false
	began, suspected := time.Now(), false
	for {
		aim := false
		select {
		case <-heads:
			aim = true
		case <-poll.C:
			if now := x.cfg.Busy(); now != busy {
				busy = now
				maps.SetBlockProcessing(busy)
			}
		case <-report.C:
			aim = true // the chain may have grown downward
			x.logProgress()
			if suspected && time.Since(began) > firstWrite && x.gaveUp(ctx, maps, false) {
				return damageError{errIncomplete, maps}
			}
		case err, ended := <-checked:
			if checked = nil; ended && err != nil {
				return damageError{err, maps}
			}
			x.maps.Store(maps)
		case <-v.suspect:
			if suspected = true; x.gaveUp(ctx, maps, true) {
				return damageError{errIncomplete, maps}
			}
		case damage := <-x.damaged:
			if damage.maps == maps { // not of those that were given up before
				return damage
			}
		case err := <-v.failed:
			return err
		case <-ctx.Done():
			return nil
		}
		if !aim {
			continue
		}
		if stale, err := x.stale(); err != nil || stale {
			return errors.Join(err, errRestart)
		}
		if view := indexed.view(x.cfg.Chain.CurrentHeader()); view != nil {
			maps.SetTarget(view, x.cfg.Chain.Oldest(), number(x.cfg.Chain.Finalized()))
		}
		x.metrics.set(x.Progress())
	}
}

// stale says whether the index on disk cannot be continued: it ends below a gap that a pivot left, or begins above older
// blocks that came since, at a base below which nothing can be added.
func (x *Index) stale() (bool, error) {
	on, exists, err := rawdb.ReadFilterMapsRange(x.cfg.Store)
	if err != nil || !exists {
		return false, nil //nolint:nilerr // filter maps begin anew then
	}
	oldest := x.cfg.Chain.Oldest()
	if oldest > on.BlocksAfterLast {
		return true, nil
	}
	return on.LocalBase && on.BlocksFirst > x.lowest() && x.cfg.Settled(), nil
}

// lowest is the lowest block that is wanted. The oldest stored block is no more than a base.
func (x *Index) lowest() uint64 {
	lowest := x.cfg.Chain.Oldest()
	if lowest > 0 {
		lowest++
	}
	if head := x.cfg.Chain.CurrentHeader().Number.Uint64(); x.cfg.Blocks > 0 && head >= x.cfg.Blocks {
		lowest = max(lowest, head+1-x.cfg.Blocks)
	}
	return lowest
}

// gaveUp says whether filter maps stopped working because of an error: then they cover nothing, and answer at once. So do
// those that have just begun, which have written nothing.
func (x *Index) gaveUp(ctx context.Context, maps *filtermaps.FilterMaps, wrote bool) bool {
	if on, exists, err := rawdb.ReadFilterMapsRange(x.cfg.Store); wrote && (err != nil || !exists || on.BlocksAfterLast <= on.BlocksFirst) {
		return false
	}
	backend := maps.NewMatcherBackend()
	defer backend.Close()
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	at, err := backend.SyncLogIndex(ctx)
	return err == nil && at.IndexedBlocks.IsEmpty()
}

func number(header *types.Header) uint64 {
	if header == nil {
		return 0
	}
	return header.Number.Uint64()
}
