package backfill

import (
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Progress is how far the backfill is. Counters are those of this process and do not go back; Share
// does when a walk begins anew, and Restarts says so.
type Progress struct {
	Root        common.Hash   `json:"root"`        // of the state that is being completed; zero: none yet
	Number      uint64        `json:"number"`      // of its block
	Share       float64       `json:"share"`       // of the account trie's key space that is complete, 0 to 1
	Accounts    uint64        `json:"accounts"`    // received, or met where something had changed
	Slots       uint64        `json:"slots"`       // likewise
	Codes       uint64        `json:"codes"`       // received
	Nodes       uint64        `json:"nodes"`       // written
	Bytes       uint64        `json:"bytes"`       // of leaves and proofs received
	FellowBytes uint64        `json:"fellowBytes"` // of these from nodes of our own kind
	Rate        float64       `json:"rate"`        // bytes per second in the last minutes
	ETA         time.Duration `json:"eta"`         // by the last minutes, nanoseconds; 0: unknown
	Restarts    int           `json:"restarts"`    // walks that began anew
	Peers       int           `json:"peers"`       // that serve ranges
	Fellows     int           `json:"fellows"`     // nodes of our own kind that have some of the state, or collect it
	Inflight    int           `json:"inflight"`    // requests
	Waiting     string        `json:"waiting"`     // for what; empty: it does not wait
}

// Progress says how far the backfill is.
func (b *Backfill) Progress() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.progress
}

// publish makes a progress known; now and then in the log as well.
func (b *Backfill) publish(p Progress) {
	p.Peers, _, _ = b.peers.census(common.Hash{1})
	p.Fellows = b.swarm.count()
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
	m.fellowBytes.Add(float64(p.FellowBytes - before.FellowBytes))
	m.fellows.Set(float64(p.Fellows))
}

// meter adds up walks and measures speed. It belongs to Run's goroutine.
type meter struct {
	began       time.Time
	reported    time.Time
	base        trie.WalkProgress // of the walks before this one
	bytes       uint64
	fromFellows uint64
	walks       int
	samples     []sample // of this walk, the last few minutes
}

type sample struct {
	at    time.Time
	share float64 // that the walk has completed itself
	bytes uint64
}

const (
	sampleEvery = 5 * time.Second
	maxSamples  = 36 // three minutes
)

func newMeter() *meter { return &meter{began: time.Now(), walks: -1} }

// begin starts to measure a new walk.
func (m *meter) begin() { m.walks, m.samples = m.walks+1, nil }

// end adds a walk to those that are over.
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
		Bytes: m.bytes, FellowBytes: m.fromFellows, Restarts: max(m.walks, 0), Inflight: w.InFlight,
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

// backfillMetrics is what the backfill counts.
type backfillMetrics struct {
	share, inflight, peers, fellows      prometheus.Gauge
	fellowBytes                          prometheus.Counter
	accounts, slots, codes, nodes, bytes prometheus.Counter
	restarts                             prometheus.Counter
	requests                             *prometheus.CounterVec // kind, result
	took                                 *prometheus.HistogramVec
}

func newBackfillMetrics(reg prometheus.Registerer) *backfillMetrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "beam_backfill_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "beam_backfill_" + name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m := &backfillMetrics{
		share:       gauge("share", "Part of the account trie's key space that is complete in the current walk, 0 to 1."),
		inflight:    gauge("inflight_requests", "Needs of the backfill in flight."),
		peers:       gauge("peers", "Peers that may serve ranges."),
		fellows:     gauge("fellows", "Nodes of our own kind that have some of the state, or collect it."),
		accounts:    counter("accounts_total", "Accounts received, or met where something had changed."),
		slots:       counter("slots_total", "Storage slots received, or met where something had changed."),
		codes:       counter("codes_total", "Contract codes received."),
		nodes:       counter("nodes_total", "Trie nodes written."),
		bytes:       counter("bytes_total", "Bytes of leaves and proofs received."),
		fellowBytes: counter("fellow_bytes_total", "Bytes of leaves, proofs and codes received from nodes of our own kind."),
		restarts:    counter("restarts_total", "Walks that began anew with a newer root."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beam_backfill_requests_total", Help: "Range requests that have ended.",
		}, []string{"kind", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "beam_backfill_request_seconds", Help: "Time from a range request to its reply.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 12), // 5 ms to 10 s
		}, []string{"kind"}),
	}
	reg.MustRegister(m.requests, m.took)
	return m
}
