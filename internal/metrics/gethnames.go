// SPDX-License-Identifier: LGPL-3.0-or-later

package metrics

import (
	runtimemetrics "runtime/metrics"
	"sync"
	"time"

	gethmetrics "github.com/ethereum/go-ethereum/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// Heads are the newest blocks of a chain, for the series chain_head_* that dashboards made for geth read. The functions
// are called at each scrape and must not block.
type Heads struct {
	Block, Header, Receipt, Safe, Finalized func() uint64
	ChainID                                 string
}

// Register adds chain_head_* and chain_info to a registry. In geth, code that this node does not run sets them.
func (h Heads) Register(registerer prometheus.Registerer) error {
	collectors := []prometheus.Collector{prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chain_info", Help: "1; the label is the chain ID.", ConstLabels: prometheus.Labels{"chain_id": h.ChainID},
	}, func() float64 { return 1 })}
	for _, gauge := range []struct {
		name, help string
		number     func() uint64
	}{
		{"chain_head_block", "Number of the head.", h.Block},
		{"chain_head_header", "Number of the newest header of the canonical chain.", h.Header},
		{"chain_head_receipt", "Number of the newest block with receipts.", h.Receipt},
		{"chain_head_safe", "Number of the safe block, 0 if there is none.", h.Safe},
		{"chain_head_finalized", "Number of the finalized block, 0 if there is none.", h.Finalized},
	} {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: gauge.name, Help: gauge.help},
			func() float64 { return float64(gauge.number()) }))
	}
	return registerAll(registerer, collectors...)
}

// RegisterProcess adds what geth says about machine and process (system_*) to a registry. It is read at each scrape; loads are
// those since the scrape before.
func RegisterProcess(registerer prometheus.Registerer) error {
	return registerAll(registerer, newProcess())
}

func registerAll(registerer prometheus.Registerer, collectors ...prometheus.Collector) error {
	for _, collector := range collectors {
		if err := registerer.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// minLoadSpan is the shortest time that a load is measured over: of two scrapers in the same second, the second one gets
// the load that the first one got.
const minLoadSpan = time.Second

// process implements prometheus.Collector.
type process struct {
	sysload, syswait, procload, read, written, used, held *prometheus.Desc

	mu    sync.Mutex
	since time.Time
	spent gethmetrics.CPUStats // seconds, until since
	load  gethmetrics.CPUStats // percent of one core
}

func newProcess() *process {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	p := &process{
		sysload:  desc("system_cpu_sysload", "Percent of one core that all processes use."),
		syswait:  desc("system_cpu_syswait", "Percent of one core that waits for disks."),
		procload: desc("system_cpu_procload", "Percent of one core that the process uses."),
		read:     desc("system_disk_readbytes", "Bytes that the process has read from disks; 0 where the system does not tell."),
		written:  desc("system_disk_writebytes", "Bytes that the process has written to disks; 0 where the system does not tell."),
		used:     desc("system_memory_used", "Bytes of memory that the Go runtime uses."),
		held:     desc("system_memory_held", "Bytes of memory that the Go runtime has from the system."),
		since:    time.Now(),
	}
	gethmetrics.ReadCPUStats(&p.spent)
	return p
}

// Describe implements prometheus.Collector.
func (p *process) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{p.sysload, p.syswait, p.procload, p.read, p.written, p.used, p.held} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (p *process) Collect(metrics chan<- prometheus.Metric) {
	load := p.measure()
	var disk gethmetrics.DiskStats
	_ = gethmetrics.ReadDiskStats(&disk) // not on all systems
	used, held := memory()
	for desc, value := range map[*prometheus.Desc]float64{
		p.sysload: load.GlobalTime, p.syswait: load.GlobalWait, p.procload: load.LocalTime,
		p.read: float64(disk.ReadBytes), p.written: float64(disk.WriteBytes), p.used: used, p.held: held,
	} {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
}

// measure returns the loads since it was called last.
func (p *process) measure() gethmetrics.CPUStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	span := now.Sub(p.since)
	if span < minLoadSpan {
		return p.load
	}
	var spent gethmetrics.CPUStats
	gethmetrics.ReadCPUStats(&spent)
	percent := func(now, before float64) float64 { return max(0, now-before) / span.Seconds() * 100 }
	p.load = gethmetrics.CPUStats{
		GlobalTime: percent(spent.GlobalTime, p.spent.GlobalTime),
		GlobalWait: percent(spent.GlobalWait, p.spent.GlobalWait),
		LocalTime:  percent(spent.LocalTime, p.spent.LocalTime),
	}
	p.spent, p.since = spent, now
	return p.load
}

// memory returns the bytes that the Go runtime uses and holds, as geth counts them.
func memory() (used, held float64) {
	samples := []runtimemetrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	runtimemetrics.Read(samples)
	held = float64(samples[0].Value.Uint64())
	used = held
	for _, sample := range samples[1:] {
		used -= float64(sample.Value.Uint64())
	}
	return used, held
}
