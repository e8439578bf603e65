// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import "github.com/prometheus/client_golang/prometheus"

// found is the result of a lookup; a closed set of label values.
type found int

const (
	foundNone found = iota
	foundYoung
	foundOld
	foundCorrupt
)

// String returns the label value.
func (f found) String() string {
	switch f {
	case foundNone:
		return "miss"
	case foundYoung:
		return "young"
	case foundOld:
		return "old"
	case foundCorrupt:
		return "corrupt"
	}
	return "unknown"
}

// hotMetrics are the metrics of Hot. With a nil Registerer they are not registered.
type hotMetrics struct {
	lookups     [foundCorrupt + 1]prometheus.Counter
	nodesMoved  prometheus.Counter
	generations prometheus.Counter
}

func newHotMetrics(r prometheus.Registerer, h *Hot) *hotMetrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "beam_hot_lookups_total",
		Help: "Lookups of trie nodes in the hot store, by result.",
	}, []string{"result"})
	m := &hotMetrics{
		nodesMoved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_hot_moved_nodes_total",
			Help: "Trie nodes promoted from the old to the young generation of the hot store because they were read.",
		}),
		generations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beam_hot_generations_total",
			Help: "Generations of the hot store begun because the young one was full.",
		}),
	}
	for result := range m.lookups {
		m.lookups[result] = lookups.WithLabelValues(found(result).String())
	}
	if r != nil {
		r.MustRegister(lookups, m.nodesMoved, m.generations,
			hotGauge("beam_hot_bytes", "Size of the trie nodes in the hot store, with their keys, before compression, in bytes.", "young",
				func() float64 { young, _ := h.generations(); return float64(young.bytes) }),
			hotGauge("beam_hot_bytes", "Size of the trie nodes in the hot store, with their keys, before compression, in bytes.", "old",
				func() float64 { _, old := h.generations(); return float64(old.bytes) }),
		)
	}
	return m
}

func hotGauge(name, help, generation string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name, Help: help, ConstLabels: prometheus.Labels{"generation": generation},
	}, read)
}

func (m *hotMetrics) found(where found)  { m.lookups[where].Inc() }
func (m *hotMetrics) promoted(nodes int) { m.nodesMoved.Add(float64(nodes)) }
func (m *hotMetrics) rotated()           { m.generations.Inc() }
