// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

// TestTraces traces a small block with each tracer, without a delay of the link.
func TestTraces(t *testing.T) {
	const name = "560048-974567.json.gz"
	from, err := filepath.Abs(filepath.Join(realdata.Dir(t), "blocks", name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(from, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Traces(t.Context(), TracesOptions{Dir: dir, MaxGas: 1_000_000, JSON: true}, &out); err != nil {
		t.Fatal(err)
	}
	tracers := make(map[string]bool)
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var r TraceResult
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if !r.Same || r.Bytes < 1000 || r.Cold <= 0 || r.Warm <= 0 || r.Geth <= 0 {
			t.Errorf("%+v", r)
		}
		tracers[r.Tracer] = true
	}
	if len(tracers) != len(tracerConfigs()) {
		t.Errorf("traced with %v", tracers)
	}
	if err := Traces(t.Context(), TracesOptions{Dir: t.TempDir()}, &out); err == nil {
		t.Error("a directory without blocks is no error")
	}
}
