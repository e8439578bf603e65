// SPDX-License-Identifier: LGPL-3.0-or-later

// Package diskspace watches the file system of a datadir: how much is free, and how much the node's stores take.
//
// A [Watch] reads the free space every half minute, which costs one system call, and stops the node in order before a full disk
// does it in the middle of a write. The sizes of the stores take a walk over all files, so they are read rarely, and only while
// somebody asks.
package diskspace

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
)

// unknown is the free space of a file system that does not tell it.
const unknown = math.MaxUint64

const (
	// freeInterval is how often the free space is read: geth's.
	freeInterval = 30 * time.Second
	// sizeInterval is how often the files are walked: with a million of them it takes seconds.
	sizeInterval = 5 * time.Minute
	// warnInterval is how often a disk that is nearly full is logged.
	warnInterval = 10 * time.Minute
	// lowFactor times the minimum is a disk that is nearly full: geth's.
	lowFactor = 2
)

// Watch watches one directory.
type Watch struct {
	dir     string
	minimum uint64 // bytes; zero: the node never stops for it
	sizes   bool   // whether Run measures the stores though nobody asks
	log     *slog.Logger
	read    func(path string) (uint64, error)

	free   atomic.Uint64
	warned time.Time
	stores *prometheus.GaugeVec
	wanted chan struct{}            // capacity 1: the stores are to be measured
	walked atomic.Pointer[measured] // nil: never
}

// measured is what a walk found.
type measured struct {
	at    time.Time
	bytes map[string]uint64 // by store
}

// Stores are the directories below a datadir's instance directory whose sizes are told apart; what is in none of them is
// "other".
var Stores = []string{"chaindata/ancient", "chaindata", "beam-hot", "blobpool", "nodes"} //nolint:gochecknoglobals // never written

const otherStore = "other"

// New returns a watch of an existing directory, with the free space read once. An unknown amount of free space counts as
// much. The registerer may be nil.
func New(dir string, minimum uint64, sizes bool, log *slog.Logger, registerer prometheus.Registerer) *Watch {
	w := &Watch{dir: dir, minimum: minimum, sizes: sizes, log: log, read: Free, wanted: make(chan struct{}, 1)}
	w.stores = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "beam_store_bytes", Help: "Size of the node's files, by store. Measured every 5 minutes.",
	}, []string{"store"})
	w.update()
	if registerer != nil {
		registerer.MustRegister(w.stores, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beam_disk_free_bytes", Help: "Free space on the file system of the datadir. Read every 30 s.",
		}, func() float64 {
			if free := w.free.Load(); free != unknown {
				return float64(free)
			}
			return math.NaN()
		}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beam_disk_minimum_bytes", Help: "Free space below which the node stops (--datadir.minfreedisk), 0 if it does not.",
		}, func() float64 { return float64(w.minimum) }))
	}
	return w
}

// Trouble says why there is too little free space; empty: there is enough.
func (w *Watch) Trouble() string {
	if free := w.free.Load(); free < lowFactor*w.minimum {
		return fmt.Sprintf("%s free in %s: the node stops below %s (--datadir.minfreedisk)", size(free), w.dir, size(w.minimum))
	}
	return ""
}

// FreeBytes is how much was free when it was last looked at, which is every half minute; 0 if it is not known.
func (w *Watch) FreeBytes() uint64 {
	if free := w.free.Load(); free != unknown {
		return free
	}
	return 0
}

// Sizes are the bytes of each store. They are measured when somebody asks, not more often than every 5 minutes; nil until the first
// walk ends. The result must not be modified.
func (w *Watch) Sizes() map[string]uint64 {
	last := w.walked.Load()
	if last == nil || time.Since(last.at) >= sizeInterval {
		select {
		case w.wanted <- struct{}{}:
		default:
		}
	}
	if last == nil {
		return nil
	}
	return last.bytes
}

// Run watches until ctx ends (nil). If there is less free space than the minimum, it returns an error at once.
func (w *Watch) Run(ctx context.Context) error {
	free, sizes := time.NewTicker(freeInterval), time.NewTicker(sizeInterval)
	defer free.Stop()
	defer sizes.Stop()
	if w.sizes {
		w.measure(ctx)
	}
	for {
		if err := w.check(); err != nil {
			return err
		}
		select {
		case <-free.C:
			w.update()
		case <-sizes.C:
			if w.sizes {
				w.measure(ctx)
			}
		case <-w.wanted:
			w.measure(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *Watch) update() {
	free, err := w.read(w.dir)
	if err != nil {
		w.log.Debug("Free disk space is not known", "path", w.dir, "err", err)
		free = unknown
	}
	w.free.Store(free)
}

func (w *Watch) check() error {
	free := w.free.Load()
	switch {
	case free < w.minimum:
		return fmt.Errorf("disk is full: %s free in %s, below --datadir.minfreedisk %d: free some space, or name a smaller minimum",
			size(free), w.dir, w.minimum>>20)
	case free < lowFactor*w.minimum && time.Since(w.warned) >= warnInterval:
		w.warned = time.Now()
		w.log.Warn("Disk is nearly full: the node stops below the minimum", "free", size(free), "minimum", size(w.minimum), "path", w.dir)
	}
	return nil
}

// measure sets the sizes of the stores. It gives up when ctx ends.
func (w *Watch) measure(ctx context.Context) {
	sizes := map[string]uint64{otherStore: 0}
	for _, store := range Stores {
		sizes[filepath.Base(store)] = 0
	}
	err := filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !entry.Type().IsRegular() { // files come and go
			return nil //nolint:nilerr // see above
		}
		if info, err := entry.Info(); err == nil {
			sizes[w.storeOf(path)] += uint64(info.Size()) //nolint:gosec // a size
		}
		return nil
	})
	if err != nil {
		return
	}
	w.walked.Store(&measured{time.Now(), sizes})
	for store, bytes := range sizes {
		w.stores.WithLabelValues(store).Set(float64(bytes))
	}
}

// storeOf returns the label of the store that a file belongs to.
func (w *Watch) storeOf(path string) string {
	below, err := filepath.Rel(w.dir, path)
	if err != nil {
		return otherStore
	}
	below = filepath.ToSlash(below)
	for _, store := range Stores {
		if strings.HasPrefix(below, store+"/") {
			return filepath.Base(store)
		}
	}
	return otherStore
}

func size(bytes uint64) common.StorageSize { return common.StorageSize(bytes) }
