// SPDX-License-Identifier: LGPL-3.0-or-later

package logindex

import (
	"math"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/prometheus/client_golang/prometheus"
)

// mapsPerEpoch is that of go-ethereum's filter maps.
const mapsPerEpoch = 1 << 10

// loggedRemaining is from how many missing blocks on the progress is logged: a node that follows the head always lacks a few.
const loggedRemaining = 128

// Progress is how far the index is.
type Progress struct {
	Disabled  bool    `json:"disabled,omitempty"`
	First     uint64  `json:"firstBlock"` // indexed; none are, if it is above Last
	Last      uint64  `json:"lastBlock"`
	Remaining uint64  `json:"remaining"` // blocks that are stored and wanted, but not indexed yet
	Share     float64 `json:"share"`     // of the wanted blocks that are indexed, 0 to 1
	Bytes     uint64  `json:"bytes"`     // in chaindata, estimated
}

// Sizes of go-ethereum's filter maps with its default parameters, in bytes (EIP-7745; core/filtermaps, core/rawdb).
const (
	valuesPerMap  = 1 << 16
	rowsPerGroup  = 1 << 16 // that are not empty, when a group is full
	mapsPerGroup  = 32
	bytesPerValue = 3.25 // a column, and two bits that say in which map
	bytesPerRow   = 15   // key and framing, of all values of a group in the same row
	bytesPerBlock = 22   // pointer to its first value
)

// size estimates what an index takes. LevelDB cannot tell the size of a range of keys.
func size(on rawdb.FilterMapsRange) uint64 {
	maps := uint64(on.MapsAfterLast-on.MapsFirst) + uint64(on.TailPartialEpoch)
	values := maps * valuesPerMap
	if first := uint64(on.MapsFirst) * valuesPerMap; on.HeadIndexed && on.HeadDelimiter > first { // the last map is not full
		values = on.HeadDelimiter - first + uint64(on.TailPartialEpoch)*valuesPerMap
	}
	rows := min(values, (maps+mapsPerGroup-1)/mapsPerGroup*rowsPerGroup)
	return uint64(bytesPerValue*float64(values)) + bytesPerRow*rows + bytesPerBlock*(on.BlocksAfterLast-on.BlocksFirst)
}

// Progress reads how far the index is.
func (x *Index) Progress() Progress {
	if x.cfg.Disabled {
		return Progress{Disabled: true, First: 1}
	}
	head, lowest := x.cfg.Chain.CurrentHeader().Number.Uint64(), x.lowest()
	wanted := head + 1 - min(lowest, head+1)
	on, exists, err := rawdb.ReadFilterMapsRange(x.cfg.Store)
	if err != nil || !exists || on.BlocksAfterLast <= on.BlocksFirst {
		return Progress{First: 1, Remaining: wanted, Share: share(wanted, wanted)}
	}
	p := Progress{First: on.BlocksFirst, Last: on.BlocksAfterLast - 1, Bytes: size(on)}
	if on.LocalBase && !x.cfg.Settled() { // until the chain has grown down, nothing can be added
		wanted -= min(wanted, on.BlocksFirst-min(lowest, on.BlocksFirst))
		lowest = on.BlocksFirst
	}
	if p.First > lowest {
		p.Remaining = p.First - lowest
		p.Remaining -= min(p.Remaining, x.partialTail(on))
	}
	if p.Last < head {
		p.Remaining += head - p.Last
	}
	p.Share = share(p.Remaining, wanted)
	return p
}

func share(remaining, wanted uint64) float64 {
	if wanted == 0 {
		return 1
	}
	return 1 - float64(min(remaining, wanted))/float64(wanted)
}

// partialTail is how many blocks of the epoch below the index are rendered. They count for searches once the epoch is whole.
func (x *Index) partialTail(on rawdb.FilterMapsRange) uint64 {
	if on.TailPartialEpoch == 0 || on.MapsFirst < mapsPerEpoch {
		return 0
	}
	begin := on.MapsFirst - mapsPerEpoch
	end, _, err := rawdb.ReadFilterMapLastBlock(x.cfg.Store, begin+on.TailPartialEpoch-1)
	if err != nil || begin == 0 {
		return end
	}
	before, _, err := rawdb.ReadFilterMapLastBlock(x.cfg.Store, begin-1)
	if err != nil {
		return 0
	}
	return end - min(before, end)
}

// reporter is what was logged.
type reporter struct {
	mu          sync.Mutex
	building    bool      // the progress was logged
	began       time.Time // of what was logged
	beganWith   uint64    // blocks that remained
	lastDamaged time.Time
}

// damagedAgain notes damage, and says whether there was some shortly before.
func (r *reporter) damagedAgain(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	again := !r.lastDamaged.IsZero() && now.Sub(r.lastDamaged) < retryPause
	r.lastDamaged = now
	return again
}

// logProgress logs the progress of an index that lacks more than the newest blocks, and the end of that.
func (x *Index) logProgress() {
	now, r := x.Progress(), &x.report
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case now.Remaining < loggedRemaining:
		if r.building {
			x.cfg.Log.Info("Log index is complete", "first", now.First, "last", now.Last, "elapsed", time.Since(r.began).Round(time.Second))
		}
		r.building = false
	case !r.building || now.Remaining > r.beganWith:
		r.building, r.began, r.beganWith = true, time.Now(), now.Remaining
		fallthrough
	default:
		attrs := []any{"first", now.First, "last", now.Last, "remaining", now.Remaining, "percent", math.Floor(now.Share*1000) / 10}
		if done, took := r.beganWith-now.Remaining, time.Since(r.began); done > 0 {
			attrs = append(attrs, "eta", time.Duration(float64(took)/float64(done)*float64(now.Remaining)).Round(time.Second))
		}
		x.cfg.Log.Info("Indexing logs", attrs...)
	}
}

type metrics struct {
	first     prometheus.Gauge
	last      prometheus.Gauge
	remaining prometheus.Gauge
	bytes     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		first: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_log_index_first_block", Help: "Number of the lowest block in the log index; above the last one if there is none.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_log_index_last_block", Help: "Number of the highest block in the log index.",
		}),
		remaining: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_log_index_remaining_blocks", Help: "Blocks that are stored and wanted in the log index, but not indexed yet.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beam_log_index_bytes", Help: "Size of the log index, which is a part of chaindata, estimated.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.first, m.last, m.remaining, m.bytes)
	}
	return m
}

func (m *metrics) set(p Progress) {
	m.first.Set(float64(p.First))
	m.last.Set(float64(p.Last))
	m.remaining.Set(float64(p.Remaining))
	m.bytes.Set(float64(p.Bytes))
}
