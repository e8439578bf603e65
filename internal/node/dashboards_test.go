// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// queries returns the PromQL of the dashboards and alert rules, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	dashboards, err := filepath.Glob("../../deploy/grafana/*.json")
	check(t, err)
	for _, path := range dashboards {
		var dashboard struct {
			UID    string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		text, err := os.ReadFile(path)
		check(t, err)
		check(t, json.Unmarshal(text, &dashboard))
		for _, panel := range dashboard.Panels {
			for i, target := range panel.Targets {
				found[dashboard.UID+", "+panel.Title+", "+string(rune('A'+i))] = target.Expr
			}
		}
	}
	rules, err := os.ReadFile("../../deploy/prometheus/sunbeam.rules.yaml")
	check(t, err)
	monitoring, err := os.ReadFile("../../docs/monitoring.md")
	check(t, err)
	for _, rule := range regexp.MustCompile(`alert: (\w+)\n +expr: (.+)\n`).FindAllStringSubmatch(string(rules), -1) {
		found[rule[1]] = rule[2]
		if !strings.Contains(string(monitoring), "| `"+rule[1]+"`") {
			t.Errorf("docs/monitoring.md does not say what to do about %s", rule[1])
		}
	}
	if want := strings.Count(string(rules), "alert:"); len(dashboards) < 6 || want < 10 || len(found) < 60 {
		t.Fatalf("%d dashboards, %d rules, %d queries", len(dashboards), want, len(found))
	}
	return found
}

// Dashboards and alert rules ask for metrics that the node has, by labels that these have.
func TestDashboards(t *testing.T) {
	doc, err := os.ReadFile(metricsDoc)
	check(t, err)
	labels := map[string][]string{"up": {"job"}} // by metric
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(doc), -1) {
		of := strings.Split(strings.TrimSpace(row[3]), ", ")
		labels[row[1]] = of
		if row[2] == "histogram" {
			labels[row[1]+"_bucket"], labels[row[1]+"_sum"], labels[row[1]+"_count"] = append(slices.Clone(of), "le"), of, of
			delete(labels, row[1])
		}
	}
	for _, name := range []string{"process_cpu_seconds_total", "process_resident_memory_bytes", "go_memstats_heap_inuse_bytes", "go_goroutines"} {
		labels[name] = nil // of the Prometheus library
	}
	metric := regexp.MustCompile(`\b(?:(?:beam|chain|ethereum|system|process|go)_\w+|up)\b`)
	label := regexp.MustCompile(`(\w+)="[^"]*"|by \(([^)]*)\)`)
	for where, query := range queries(t) {
		known := []string{"instance"}
		names := metric.FindAllString(query, -1)
		for _, name := range names {
			of, ok := labels[name]
			if !ok {
				t.Errorf("%s: the node has no metric %s", where, name)
			}
			known = append(known, of...)
		}
		if len(names) == 0 || strings.Count(query, "(") != strings.Count(query, ")") {
			t.Errorf("%s: no query: %s", where, query)
		}
		for _, match := range label.FindAllStringSubmatch(query, -1) {
			for name := range strings.SplitSeq(match[1]+match[2], ", ") {
				if !slices.Contains(known, name) {
					t.Errorf("%s: %v have no label %s", where, names, name)
				}
			}
		}
	}
}
