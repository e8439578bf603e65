// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	gethmetrics "github.com/ethereum/go-ethereum/metrics"
)

// meterInterval is how often the meters are set, as in geth.
const meterInterval = 3 * time.Second

// pebbleEvents counts what Pebble tells but does not count.
type pebbleEvents struct {
	level0, deeper atomic.Int64 // compactions
	stalls         atomic.Int64 // of writes
	stalled        atomic.Int64 // nanoseconds
	since          atomic.Int64 // start of the stall, nanoseconds; 0: none
}

func (e *pebbleEvents) listener(health *pebbleHealth) *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption:  health.corrupt,
		BackgroundError: health.background,
		CompactionBegin: func(info pebble.CompactionInfo) {
			if info.Input[0].Level == 0 {
				e.level0.Add(1)
			} else {
				e.deeper.Add(1)
			}
		},
		WriteStallBegin: func(pebble.WriteStallBeginInfo) {
			e.stalls.Add(1)
			e.since.Store(time.Now().UnixNano())
		},
		WriteStallEnd: func() { e.stalled.Add(time.Now().UnixNano() - e.since.Swap(0)) },
	}
}

// meter sets meters and gauges in go-ethereum's registry, under the names that geth's have, until quit is closed.
func (e *pebbleEvents) meter(db *pebble.DB, namespace string, quit <-chan struct{}) {
	ticker := time.NewTicker(meterInterval)
	defer ticker.Stop()
	sums := make(map[string]int64)
	for {
		for name, value := range e.read(db.Metrics()) {
			if sum, isSum := strings.CutPrefix(name, "sum "); isSum {
				gethmetrics.GetOrRegisterMeter(namespace+sum, nil).Mark(value - sums[sum])
				sums[sum] = value
				continue
			}
			gethmetrics.GetOrRegisterGauge(namespace+name, nil).Update(value)
		}
		select {
		case <-quit:
			return
		case <-ticker.C:
		}
	}
}

// read returns the values by name. Those named "sum <name>" only grow.
func (e *pebbleEvents) read(m *pebble.Metrics) map[string]int64 {
	values := map[string]int64{
		"sum compact/time":                int64(m.Compact.Duration),
		"sum compact/writedelay/counter":  e.stalls.Load(),
		"sum compact/writedelay/duration": e.stalled.Load(),
		"disk/size":                       int64(m.DiskSpaceUsage()),
		"compact/memory":                  m.Flush.Count,
		"compact/level0":                  e.level0.Load(),
		"compact/nonlevel0":               e.deeper.Load(),
		"compact/seek":                    m.Compact.ReadCount,
		"compact/estimateDebt":            int64(m.Compact.EstimatedDebt),
		"compact/live/count":              m.Compact.NumInProgress,
		"compact/live/size":               m.Compact.InProgressBytes,
		"memory/manualalloc":              m.BlockCache.Size + int64(m.MemTable.Size) + int64(m.MemTable.ZombieSize),
		"table/live":                      m.MemTable.Count,
		"table/zombie":                    m.MemTable.ZombieCount,
		"cache/block/hit":                 m.BlockCache.Hits,
		"cache/block/miss":                m.BlockCache.Misses,
		"cache/table/hit":                 m.FileCache.Hits,
		"cache/table/miss":                m.FileCache.Misses,
		"filter/hit":                      m.Filter.Hits,
		"filter/miss":                     m.Filter.Misses,
		"iter/count":                      m.TableIters,
	}
	var read, compacted, flushed int64
	for level, l := range m.Levels {
		read += int64(l.TableBytesRead)
		compacted += int64(l.TableBytesCompacted)
		flushed += int64(l.TableBytesFlushed)
		values[fmt.Sprintf("tables/level%d", level)] = l.TablesCount
	}
	values["sum compact/input"] = read
	values["sum compact/output"] = compacted
	values["sum disk/read"] = 0 // Pebble counts reads of compactions only
	values["sum disk/write"] = compacted + flushed + int64(m.WAL.BytesWritten)
	return values
}
