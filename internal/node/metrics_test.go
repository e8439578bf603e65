// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const metricsDoc = "../../docs/metrics.md"

// recorder notes what is registered, also vectors that have no children yet.
type recorder struct {
	*prometheus.Registry
	lines []string
}

func (r *recorder) Register(c prometheus.Collector) error {
	if err := r.Registry.Register(c); err != nil {
		return err
	}
	descs := make(chan *prometheus.Desc, 16)
	go func() { c.Describe(descs); close(descs) }()
	for desc := range descs {
		r.lines = append(r.lines, docLine(desc, c))
	}
	return nil
}

func (r *recorder) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// A description shows itself as text only; label names come as {name <nil>} or name="value".
var (
	descPattern  = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: (".*"), constLabels: \{(.*)\}, variableLabels: \[(.*)\]\}$`)
	labelPattern = regexp.MustCompile(`(\w+)="[^"]*"|\{(\w+) `)
)

// docLine is a metric's row in the document.
func docLine(desc *prometheus.Desc, c prometheus.Collector) string {
	match := descPattern.FindStringSubmatch(desc.String())
	if match == nil {
		return "cannot read " + desc.String()
	}
	help, err := strconv.Unquote(match[2])
	if err != nil {
		return "cannot read " + desc.String()
	}
	var labels []string
	for _, label := range labelPattern.FindAllStringSubmatch(match[3]+" "+match[4], -1) {
		labels = append(labels, label[1]+label[2])
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", match[1], kindOf(c), strings.Join(labels, ", "), help)
}

func kindOf(c prometheus.Collector) string {
	switch c.(type) {
	case *prometheus.CounterVec:
		return "counter"
	case *prometheus.GaugeVec:
		return "gauge"
	case *prometheus.HistogramVec:
		return "histogram"
	case *prometheus.SummaryVec:
		return "summary"
	}
	metrics := make(chan prometheus.Metric, 64)
	c.Collect(metrics)
	var m dto.Metric
	if err := (<-metrics).Write(&m); err != nil {
		return err.Error()
	}
	switch {
	case m.Counter != nil:
		return "counter"
	case m.Gauge != nil:
		return "gauge"
	case m.Histogram != nil:
		return "histogram"
	case m.Summary != nil:
		return "summary"
	}
	return "unknown"
}

// What a node registers and what docs/metrics.md lists must be the same. Run with
// UPDATE_DOCS=1 to write the table.
func TestMetricsAreDocumented(t *testing.T) {
	registry := &recorder{Registry: prometheus.NewRegistry()}
	n, err := newNode(localConfig(t), discard, registry, registry)
	check(t, err)
	check(t, n.Close())
	slices.Sort(registry.lines)
	registry.lines = slices.Compact(registry.lines)

	doc, err := os.ReadFile(metricsDoc)
	check(t, err)
	var listed []string
	before, after, inTable := "", "", false
	for _, line := range strings.SplitAfter(string(doc), "\n") {
		switch {
		case strings.HasPrefix(line, "| `"):
			listed, inTable = append(listed, strings.TrimSpace(line)), true
		case inTable:
			after += line
		default:
			before += line
		}
	}
	if slices.Equal(listed, registry.lines) {
		return
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		check(t, os.WriteFile(metricsDoc, []byte(before+strings.Join(registry.lines, "\n")+"\n"+after), 0o644))
		return
	}
	for _, line := range registry.lines {
		if !slices.Contains(listed, line) {
			t.Errorf("not in docs/metrics.md: %s", line)
		}
	}
	for _, line := range listed {
		if !slices.Contains(registry.lines, line) {
			t.Errorf("in docs/metrics.md, but not registered: %s", line)
		}
	}
	t.Error("run this test with UPDATE_DOCS=1 to write the table")
}

// TestClientLabels: client names of strangers become one of few labels.
func TestClientLabels(t *testing.T) {
	for name, want := range map[string]string{
		"Geth/v1.17.10-stable-abc/linux-amd64/go1.26": "geth", "erigon/v3.0.0": "erigon", "reth/v1.5.0/x86_64": "reth", "Nethermind/v1.31": "nethermind",
		"besu/v25.1": "besu", "ethrex/v1": "ethrex", clientName("mine"): "sunbeam", "": "other", "x\ny": "other",
	} {
		if got := clientOf(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
