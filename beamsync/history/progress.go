// SPDX-License-Identifier: LGPL-3.0-or-later

package history

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// rateWindow is the time over which rates are measured.
const rateWindow = 2 * time.Minute

// Progress is how far the collection of old blocks is.
type Progress struct {
	Oldest    uint64  `json:"oldestBlock"` // from which on, up to the head, blocks and receipts are held
	Cutoff    uint64  `json:"cutoff"`      // lowest block that is wanted
	Remaining uint64  `json:"remaining"`   // blocks that are missing; less, if they turn out to be held below a gap
	Share     float64 `json:"share"`       // of the wanted blocks that are held, 0 to 1
	Blocks    uint64  `json:"blocks"`      // collected since the start of the node
	Bytes     uint64  `json:"bytes"`       // received for them
	PerSecond float64 `json:"blocksPerSecond"`
	ETA       float64 `json:"etaSeconds,omitempty"` // 0 while it cannot be told
	WaitsFor  string  `json:"waitsFor,omitempty"`
}

// progress counts what was collected.
type progress struct {
	mu         sync.Mutex
	blocks     uint64
	bytes      uint64
	cutoff     uint64
	points     []progressPoint // one per report, oldest first
	idleLogged bool            // nothing is wanted, and that was logged
}

type progressPoint struct {
	at     time.Time
	blocks uint64
}

func (p *progress) add(blocks int, bytes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocks += uint64(blocks)
	p.bytes += bytes
}

// rateLocked is in blocks per second, over the window or what there is of it.
func (p *progress) rateLocked(now time.Time) float64 {
	if len(p.points) == 0 {
		return 0
	}
	first := p.points[0]
	took := now.Sub(first.at).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(p.blocks-first.blocks) / took
}

// markLocked notes a point from which rates are measured.
func (p *progress) markLocked(now time.Time) {
	p.points = append(p.points, progressPoint{now, p.blocks})
	for len(p.points) > 1 && now.Sub(p.points[1].at) >= rateWindow {
		p.points = p.points[1:]
	}
}

// Progress reports where the collection is now.
func (h *History) Progress() Progress {
	h.progress.mu.Lock()
	defer h.progress.mu.Unlock()
	return h.progressLocked()
}

func (h *History) progressLocked() Progress {
	p := &h.progress
	head := h.cfg.Chain.CurrentHeader().Number.Uint64()
	now := Progress{Oldest: h.cfg.Chain.Oldest(), Cutoff: min(p.cutoff, head), Blocks: p.blocks, Bytes: p.bytes, Share: 1}
	if now.Oldest <= now.Cutoff || p.cutoff > head { // nothing is wanted, or all is there
		return now
	}
	now.Remaining = now.Oldest - now.Cutoff
	now.Share = float64(head+1-min(now.Oldest, head+1)) / float64(head+1-now.Cutoff)
	now.PerSecond = p.rateLocked(time.Now())
	if now.PerSecond > 0 {
		now.ETA = math.Round(float64(now.Remaining) / now.PerSecond)
	}
	switch {
	case h.cfg.Slots() == 0:
		now.WaitsFor = "a block that needs the network"
	case h.cfg.OldChain.OldBlockPeers(now.Oldest-1) == 0:
		now.WaitsFor = fmt.Sprintf("a peer that has block %d", now.Oldest-1)
	}
	return now
}

// updateProgress publishes what the last step changed, and logs when all is done.
func (h *History) updateProgress(cutoff uint64) {
	h.progress.mu.Lock()
	defer h.progress.mu.Unlock()
	h.progress.cutoff = cutoff
	now := h.progressLocked()
	h.metrics.oldest.Set(float64(now.Oldest))
	h.metrics.remaining.Set(float64(now.Remaining))
	if now.Remaining > 0 {
		if h.progress.idleLogged || len(h.progress.points) == 0 { // a new beginning
			h.progress.idleLogged = false
			h.progress.points = nil
			h.progress.markLocked(time.Now())
		}
		return
	}
	if len(h.progress.points) > 0 && !h.progress.idleLogged {
		h.cfg.Log.Info("Chain history is complete", "oldest", now.Oldest, "blocks", now.Blocks, "bytes", now.Bytes)
	}
	h.progress.idleLogged = true
}

// report logs the progress, unless nothing is wanted.
func (h *History) report() {
	h.progress.mu.Lock()
	defer h.progress.mu.Unlock()
	now := h.progressLocked()
	if now.Remaining == 0 {
		return
	}
	h.progress.markLocked(time.Now())
	attrs := []any{
		"oldest", now.Oldest, "cutoff", now.Cutoff, "remaining", now.Remaining, "percent", math.Floor(now.Share*1000) / 10,
		"blocks_per_s", math.Round(now.PerSecond*10) / 10, "bytes", now.Bytes,
	}
	if now.ETA > 0 {
		attrs = append(attrs, "eta", time.Duration(now.ETA)*time.Second)
	}
	if now.WaitsFor != "" {
		attrs = append(attrs, "waits_for", now.WaitsFor)
	}
	h.cfg.Log.Info("Collecting chain history", attrs...)
}
