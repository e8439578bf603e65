// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gethlog "github.com/ethereum/go-ethereum/log"

	"github.com/sunbeam-eth/sunbeam/config"
)

// A full log file is renamed, and old ones are removed.
func TestLogRotation(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default().Log
	cfg.File, cfg.Rotate, cfg.MaxSizeMB, cfg.MaxBackups = filepath.Join(dir, "node.log"), true, 1, 2
	check(t, os.WriteFile(cfg.File, []byte("from before\n"), 0o600))
	log, closeLog, err := newLogger(cfg, io.Discard)
	check(t, err)
	defer gethlog.SetDefault(gethlog.NewLogger(gethlog.DiscardHandler()))
	long := strings.Repeat("x", 100_000)
	for range 25 {
		log.Info(long)
	}
	check(t, closeLog())
	files, err := filepath.Glob(filepath.Join(dir, "node*.log"))
	check(t, err)
	if len(files) < 2 {
		t.Fatalf("files %v: nothing was rotated", files)
	}
	for _, file := range files {
		if stat, err := os.Stat(file); err != nil || stat.Size() > 1<<20 {
			t.Errorf("%s: %v, %d bytes", file, err, stat.Size())
		}
	}
}

// --log.vmodule raises the verbosity of a part of the source only.
func TestLogModules(t *testing.T) {
	for module, want := range map[string]bool{"cmd/sunbeam/*=5": true, "rpc/*=5": false} {
		cfg := config.Default().Log
		cfg.VModule = []string{"p2p=4", module}
		var out bytes.Buffer
		log, closeLog, err := newLogger(cfg, &out)
		check(t, err)
		gethlog.SetDefault(gethlog.NewLogger(gethlog.DiscardHandler()))
		log.Debug("detail", slog.String("a", "b"))
		log.Info("news")
		check(t, closeLog())
		if got := strings.Contains(out.String(), "detail"); got != want || !strings.Contains(out.String(), "news") {
			t.Errorf("%s: %q", module, &out)
		}
	}
}
