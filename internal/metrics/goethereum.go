// SPDX-License-Identifier: LGPL-3.0-or-later

package metrics

import (
	"slices"
	"strings"
	"sync"

	gethmetrics "github.com/ethereum/go-ethereum/metrics"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// GoEthereum gathers a registry of go-ethereum's metrics package under the names and
// kinds that geth shows: slashes become underscores, what counts is a gauge, what measures
// is a summary. Unlike geth's own page, this one is what Prometheus calls valid: a
// summary's count is part of it, and characters that a name must not have are underscores.
//
// go-ethereum's packages register some 600 metrics when they are linked, and most of them belong to code that this node
// does not run. Those would be zeros that say nothing. So a metric is shown from the moment on at which it has counted
// anything, or from the start if its name begins with one of fed: there a zero is true.
func GoEthereum(registry gethmetrics.Registry, fed ...string) prometheus.Gatherer {
	var mu sync.Mutex
	shown := make(map[string]bool) // for good, so that a gauge that returns to zero does not vanish
	show := func(name string, family *dto.MetricFamily) bool {
		mu.Lock()
		defer mu.Unlock()
		if !shown[name] {
			shown[name] = counted(family.Metric[0]) || slices.ContainsFunc(fed, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		}
		return shown[name]
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		var families []*dto.MetricFamily
		taken := make(map[string]bool)
		registry.Each(func(name string, metric any) {
			name = metricName(name)
			family := convert(metric)
			if family == nil || taken[name] || !show(name, family) {
				return
			}
			taken[name], family.Name = true, &name
			families = append(families, family)
		})
		slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
		return families, nil
	})
}

// counted says whether a metric is anything but zero.
func counted(m *dto.Metric) bool {
	return m.GetGauge().GetValue() != 0 || m.GetSummary().GetSampleCount() != 0
}

// convert returns nil for what has no value yet and for kinds that geth does not show.
func convert(metric any) *dto.MetricFamily {
	switch m := metric.(type) {
	case *gethmetrics.Counter:
		return gauge(float64(m.Snapshot().Count()))
	case *gethmetrics.CounterFloat64:
		return gauge(m.Snapshot().Count())
	case *gethmetrics.Gauge:
		return gauge(float64(m.Snapshot().Value()))
	case *gethmetrics.GaugeFloat64:
		return gauge(m.Snapshot().Value())
	case *gethmetrics.Meter:
		return gauge(float64(m.Snapshot().Count()))
	case *gethmetrics.GaugeInfo:
		if info := m.Snapshot().Value(); len(info) > 0 {
			return labelled(info)
		}
	case gethmetrics.Histogram:
		s := m.Snapshot()
		return summary(s.Count(), float64(s.Sum()), s.Percentiles)
	case *gethmetrics.Timer:
		s := m.Snapshot()
		return summary(s.Count(), float64(s.Sum()), s.Percentiles)
	case *gethmetrics.ResettingTimer:
		s := m.Snapshot()
		if s.Count() == 0 {
			return nil
		}
		return summary(int64(s.Count()), s.Mean()*float64(s.Count()), s.Percentiles)
	}
	return nil
}

func gauge(value float64) *dto.MetricFamily {
	return &dto.MetricFamily{Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}}
}

// labelled is a gauge of 1 that says something in its labels.
func labelled(info gethmetrics.GaugeInfoValue) *dto.MetricFamily {
	family := gauge(1)
	for name, value := range info {
		name = metricName(name)
		family.Metric[0].Label = append(family.Metric[0].Label, &dto.LabelPair{Name: &name, Value: &value})
	}
	slices.SortFunc(family.Metric[0].Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return family
}

// summary has the quantiles that geth shows.
func summary(count int64, sum float64, percentiles func([]float64) []float64) *dto.MetricFamily {
	quantiles := []float64{0.5, 0.75, 0.95, 0.99, 0.999, 0.9999}
	samples := uint64(max(count, 0))
	s := &dto.Summary{SampleCount: &samples, SampleSum: &sum}
	for i, value := range percentiles(quantiles) {
		s.Quantile = append(s.Quantile, &dto.Quantile{Quantile: &quantiles[i], Value: &value})
	}
	return &dto.MetricFamily{Type: dto.MetricType_SUMMARY.Enum(), Metric: []*dto.Metric{{Summary: s}}}
}

// metricName follows Prometheus' data model: [a-zA-Z_:][a-zA-Z0-9_:]*.
func metricName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == ':' {
			return r
		}
		return '_'
	}, name)
}
