// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Progress is how far the backfill is. Counters are those of this process. Nothing of it falls but Remaining and ETA.
type Progress struct {
	Root       common.Hash   `json:"root"`       // of the state that is being completed; zero: none yet
	Number     uint64        `json:"number"`     // of its block
	Share      float64       `json:"share"`      // of the state that is there, estimated by its leaves, 0 to 1; it does not fall, also over restarts
	Accounts   uint64        `json:"accounts"`   // received, or visited because something had changed
	Slots      uint64        `json:"slots"`      // likewise
	Codes      uint64        `json:"codes"`      // received
	Nodes      uint64        `json:"nodes"`      // written
	Bytes      uint64        `json:"bytes"`      // of leaves and proofs received
	SwarmBytes uint64        `json:"swarmBytes"` // of these, from swarm peers
	Rate       float64       `json:"rate"`       // bytes per second in the last minutes
	Remaining  uint64        `json:"remaining"`  // bytes of leaves to come, estimated; 0: unknown
	ETA        time.Duration `json:"-"`          // by the last minutes; 0: unknown; etaSeconds in JSON, as in that of the history
	ETALow     time.Duration `json:"-"`          // its range, of which it is outside in one case of five: how many large contracts
	ETAHigh    time.Duration `json:"-"`          // are to come is not known before they are found; etaLowSeconds, etaHighSeconds
	Restarts   int           `json:"restarts"`   // of the walk, with a newer root
	Peers      int           `json:"peers"`      // that serve ranges
	SwarmPeers int           `json:"swarmPeers"` // other Sunbeam nodes that have some of the state or collect it
	Inflight   int           `json:"inflight"`   // requests
	Waiting    string        `json:"waiting"`    // for what the backfill waits; empty: it does not
}

// MarshalJSON adds etaSeconds and its range.
func (p Progress) MarshalJSON() ([]byte, error) {
	type plain Progress
	return json.Marshal(struct {
		plain
		ETA  float64 `json:"etaSeconds,omitempty"`
		Low  float64 `json:"etaLowSeconds,omitempty"`
		High float64 `json:"etaHighSeconds,omitempty"`
	}{plain(p), p.ETA.Seconds(), p.ETALow.Seconds(), p.ETAHigh.Seconds()})
}

// Progress says how far the backfill is.
func (b *Backfill) Progress() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.progress
}

// publish sets the progress and the metrics.
func (b *Backfill) publish(p Progress) {
	p.Peers, _, _ = b.peers.count(common.Hash{1})
	p.SwarmPeers = b.swarm.count()
	b.mu.Lock()
	before := b.mu.progress
	b.mu.progress = p
	b.mu.Unlock()
	m := b.metrics
	m.share.Set(p.Share)
	m.inflight.Set(float64(p.Inflight))
	m.peers.Set(float64(p.Peers))
	m.accounts.Add(float64(p.Accounts - before.Accounts))
	m.slots.Add(float64(p.Slots - before.Slots))
	m.codes.Add(float64(p.Codes - before.Codes))
	m.nodes.Add(float64(p.Nodes - before.Nodes))
	m.bytes.Add(float64(p.Bytes - before.Bytes))
	m.swarmBytes.Add(float64(p.SwarmBytes - before.SwarmBytes))
	m.swarmPeers.Set(float64(p.SwarmPeers))
}

// meter adds up the walks and measures the rate. It belongs to Run's goroutine.
type meter struct {
	began      time.Time
	reported   time.Time
	base       trie.WalkProgress // of the walks before this one
	bytes      uint64
	swarmBytes uint64
	walks      int
	forecast   forecast
	samples    []sample // of the last few minutes
}

type sample struct {
	at    time.Time
	work  float64
	bytes uint64
}

const (
	reportInterval = 8 * time.Second // of log lines
	maxSamples     = 180             // one at each tick that brought something: three minutes and more
)

// newMeter returns a meter that goes on at a share.
func newMeter(share float64) *meter {
	m := &meter{began: time.Now(), walks: -1}
	if share > 0 && share < 1 {
		m.forecast = forecast{share: share, resumed: true}
	}
	return m
}

// begin begins a new walk.
func (m *meter) begin() { m.walks++ }

// end adds a finished walk.
func (m *meter) end(w *trie.Walker) {
	p := w.Progress()
	m.base.Accounts += p.Accounts
	m.base.Slots += p.Slots
	m.base.Codes += p.Codes
	m.base.Nodes += p.Nodes
	m.forecast.end(w.Extent())
}

// progress says how far a walk is; nil: there is none.
func (m *meter) progress(target Target, walker *trie.Walker, waiting string) Progress {
	var (
		w trie.WalkProgress
		o = outlook{share: m.forecast.share}
	)
	if walker != nil {
		w, o = walker.Progress(), m.forecast.update(walker.Extent())
	}
	p := Progress{
		Root: target.Root, Number: target.Number, Share: o.share, Remaining: uint64(o.rest), Waiting: waiting,
		Accounts: m.base.Accounts + w.Accounts, Slots: m.base.Slots + w.Slots, Codes: m.base.Codes + w.Codes, Nodes: m.base.Nodes + w.Nodes,
		Bytes: m.bytes, SwarmBytes: m.swarmBytes, Restarts: max(m.walks, 0), Inflight: w.InFlight,
	}
	switch {
	case walker == nil:
	case walker.Done():
		p.Share, p.Remaining = 1, 0
	default:
		m.measure(&p, o)
	}
	return p
}

// measure adds the rate and the time that is left. Responses are large for a slow link, so the time since the newest one does not count
// while the next is not overdue.
func (m *meter) measure(p *Progress, o outlook) {
	if o.done == 0 {
		return // the time until the first response says nothing about the rate
	}
	now := time.Now()
	if n := len(m.samples); n == 0 || now.Sub(m.samples[n-1].at) >= tickInterval && o.done > m.samples[n-1].work {
		m.samples = append(m.samples, sample{now, o.done, m.bytes})
		m.samples = m.samples[max(0, len(m.samples)-maxSamples):]
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	usual := last.at.Sub(first.at) / time.Duration(max(1, len(m.samples)-1))
	took := (now.Sub(first.at) - min(now.Sub(last.at), usual)).Seconds()
	if took <= 0 {
		return
	}
	p.Rate = float64(m.bytes-first.bytes) / took
	if gained := o.done - first.work; gained > 0 && o.rest > 0 {
		after := func(work float64) time.Duration {
			return time.Duration(min(work/gained*took, maxETA.Seconds()) * float64(time.Second)).Round(time.Second)
		}
		p.ETA, p.ETALow, p.ETAHigh = after(o.rest), after(o.low), after(o.high)
	}
}

// maxETA bounds what is said of a backfill that hardly advances.
const maxETA = 10 * 365 * 24 * time.Hour

// publish publishes the progress of a walk, and logs it every few seconds.
func (w *walk) publish() {
	waiting := w.waiting
	if waiting == "" && w.walker.Progress().InFlight == 0 && len(w.walker.Delegated()) > 0 {
		waiting = "for parts assigned to swarm peers"
	}
	p := w.meter.progress(w.target, w.walker, waiting)
	w.b.publish(p)
	if now := time.Now(); now.Sub(w.meter.reported) >= reportInterval {
		w.meter.reported = now
		w.b.log.Info("State backfill in progress", "share", fmt.Sprintf("%.2f%%", 100*p.Share), "accounts", p.Accounts, "slots", p.Slots,
			"codes", p.Codes, "bytes", p.Bytes, "bytes_per_second", uint64(p.Rate), "eta", p.ETA, "eta_low", p.ETALow, "eta_high", p.ETAHigh, "inflight", p.Inflight, "waiting", p.Waiting)
	}
}
