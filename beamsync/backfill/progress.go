// SPDX-License-Identifier: LGPL-3.0-or-later

package backfill

import (
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Progress is how far the backfill is. Counters are those of this process and do not fall. Share
// does when a walk restarts, and Restarts rises then.
type Progress struct {
	Root       common.Hash   `json:"root"`       // of the state that is being completed; zero: none yet
	Number     uint64        `json:"number"`     // of its block
	Share      float64       `json:"share"`      // of the account trie's key space that is complete, 0 to 1
	Accounts   uint64        `json:"accounts"`   // received, or visited because something had changed
	Slots      uint64        `json:"slots"`      // likewise
	Codes      uint64        `json:"codes"`      // received
	Nodes      uint64        `json:"nodes"`      // written
	Bytes      uint64        `json:"bytes"`      // of leaves and proofs received
	SwarmBytes uint64        `json:"swarmBytes"` // of these, from swarm peers
	Rate       float64       `json:"rate"`       // bytes per second in the last minutes
	ETA        time.Duration `json:"eta"`        // by the last minutes, nanoseconds; 0: unknown
	Restarts   int           `json:"restarts"`   // of the walk, with a newer root
	Peers      int           `json:"peers"`      // that serve ranges
	SwarmPeers int           `json:"swarmPeers"` // other Sunbeam nodes that have some of the state or collect it
	Inflight   int           `json:"inflight"`   // requests
	Waiting    string        `json:"waiting"`    // for what the backfill waits; empty: it does not
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
	samples    []sample // of this walk, the last few minutes
}

type sample struct {
	at    time.Time
	share float64 // that the walk itself has completed
	bytes uint64
}

const (
	reportInterval = 8 * time.Second // of log lines
	sampleEvery    = 5 * time.Second
	maxSamples     = 36 // three minutes
)

func newMeter() *meter { return &meter{began: time.Now(), walks: -1} }

// begin begins a new walk.
func (m *meter) begin() { m.walks, m.samples = m.walks+1, nil }

// end adds a finished walk.
func (m *meter) end(p trie.WalkProgress) {
	m.base.Accounts += p.Accounts
	m.base.Slots += p.Slots
	m.base.Codes += p.Codes
	m.base.Nodes += p.Nodes
}

func (m *meter) progress(target Target, w trie.WalkProgress, waiting string) Progress {
	p := Progress{
		Root: target.Root, Number: target.Number, Share: w.Share, Waiting: waiting,
		Accounts: m.base.Accounts + w.Accounts, Slots: m.base.Slots + w.Slots, Codes: m.base.Codes + w.Codes, Nodes: m.base.Nodes + w.Nodes,
		Bytes: m.bytes, SwarmBytes: m.swarmBytes, Restarts: max(m.walks, 0), Inflight: w.InFlight,
	}
	now, done := time.Now(), w.Share-w.Kept
	if n := len(m.samples); n == 0 || now.Sub(m.samples[n-1].at) >= sampleEvery {
		m.samples = append(m.samples, sample{now, done, m.bytes})
		m.samples = m.samples[max(0, len(m.samples)-maxSamples):]
	}
	first := m.samples[0]
	if took := now.Sub(first.at).Seconds(); took > 0 {
		p.Rate = float64(m.bytes-first.bytes) / took
		if gained := done - first.share; gained > 0 {
			p.ETA = time.Duration((1 - w.Share) / gained * took * float64(time.Second)).Round(time.Second)
		}
	}
	return p
}

// publish publishes the progress of a walk, and logs it every few seconds.
func (w *walk) publish() {
	done, waiting := w.walker.Progress(), w.waiting
	if waiting == "" && done.InFlight == 0 && len(w.walker.Delegated()) > 0 {
		waiting = "for parts assigned to swarm peers"
	}
	p := w.meter.progress(w.target, done, waiting)
	w.b.publish(p)
	if now := time.Now(); now.Sub(w.meter.reported) >= reportInterval {
		w.meter.reported = now
		w.b.log.Info("State backfill in progress", "share", fmt.Sprintf("%.2f%%", 100*p.Share), "accounts", p.Accounts, "slots", p.Slots,
			"codes", p.Codes, "bytes", p.Bytes, "bytes_per_second", uint64(p.Rate), "eta", p.ETA, "inflight", p.Inflight, "waiting", p.Waiting)
	}
}
