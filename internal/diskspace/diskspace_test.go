// SPDX-License-Identifier: LGPL-3.0-or-later

package diskspace

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var discard = slog.New(slog.DiscardHandler)

// TestWatch fills a disk: the operator is warned first, now and then, and the node stops before the disk is full.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 30)
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		var log bytes.Buffer
		w := New(t.TempDir(), 100<<20, false, slog.New(slog.NewTextHandler(&log, nil)), nil)
		w.read = func(string) (uint64, error) {
			if free.Load() == 0 {
				return 0, errors.New("no such file system")
			}
			return free.Load(), nil
		}
		w.update()
		done := make(chan error, 1)
		go func() { done <- w.Run(t.Context()) }()
		pass(time.Hour)
		if w.Trouble() != "" || log.Len() > 0 {
			t.Errorf("enough is free: %q, %s", w.Trouble(), &log)
		}
		free.Store(199 << 20)
		pass(55 * time.Minute)
		if lines := strings.Count(log.String(), "Disk is nearly full"); lines != 6 || !strings.Contains(w.Trouble(), "--datadir.minfreedisk") {
			t.Errorf("%d warnings in 55 minutes, %q", lines, w.Trouble())
		}
		free.Store(0) // unknown
		pass(time.Minute)
		free.Store(100<<20 - 1)
		pass(time.Minute)
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "disk is full") || !strings.Contains(err.Error(), w.dir) {
				t.Errorf("stopped with %v", err)
			}
		default:
			t.Error("does not stop")
		}
	})
}

// TestWatchEnds: a watch ends at once, also while it walks over the files.
func TestWatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := New(t.TempDir(), 0, true, discard, nil)
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(w.stores); n != 0 {
		t.Errorf("%d sizes of a walk that was cut off", n)
	}
}

// TestSizes measures files in all stores, and free space of a real file system.
func TestSizes(t *testing.T) {
	dir := t.TempDir()
	for path, size := range map[string]int{
		"chaindata/000001.ldb": 10, "chaindata/ancient/state/a.cdat": 200, "beam-hot/1/000001.ldb": 3000, "blobpool/queue/x": 40000, "nodekey": 64, "nodes.bak/x": 1,
	} {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, make([]byte, size), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	w := New(dir, 0, false, discard, registry)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	for w.Sizes() == nil { // nobody has asked before
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-over; err != nil || w.Sizes()["chaindata"] != 10 || w.FreeBytes() == 0 {
		t.Errorf("%v, %v", w.Sizes(), err)
	}
	want := `
# HELP beam_store_bytes Size of the node's files, by store. Measured every 5 minutes.
# TYPE beam_store_bytes gauge
beam_store_bytes{store="ancient"} 200
beam_store_bytes{store="beam-hot"} 3000
beam_store_bytes{store="blobpool"} 40000
beam_store_bytes{store="chaindata"} 10
beam_store_bytes{store="nodes"} 0
beam_store_bytes{store="other"} 65
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "beam_store_bytes"); err != nil {
		t.Error(err)
	}
	if free, err := Free(dir); err != nil || free == 0 || w.free.Load() == 0 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	if _, err := Free(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("free space of a path that does not exist")
	}
}
