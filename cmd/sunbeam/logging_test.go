// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	log, closeLog, err := newLogger(cfg, nil, io.Discard)
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
		log, closeLog, err := newLogger(cfg, nil, &out)
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

// Why a start failed is in the log file too, and nowhere is a password, not even where go-ethereum logs the URL that has it.
func TestLogKeepsReasonAndSecrets(t *testing.T) {
	for _, format := range []string{"terminal", "logfmt", "json"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "node.log")
		args := []string{
			"--hoodi", "--log.file", file, "--log.format", format, "--beacon.api", "http://alice:hunter2@127.0.0.1:9/v3/0123456789abcdef", "--beacon.api.header", "Authorization: Bearer t0ken",
			"--ethstats", "me:hunter2@example.org", "--metrics.influxdb.endpoint", "http://alice:hunter2@x", "--nodiscover", "--nat", "none", "--port", "0", "--authrpc.port", "0",
			"--verbosity", "5", "--datadir",
		}
		n := run(t, "--datadir", filepath.Join(dir, "d"), "--hoodi") // another process has the datadir
		_, stderr, code := sunbeam(t, append(args, filepath.Join(dir, "d"))...)
		n.stop(t, syscall.SIGTERM)
		text, err := os.ReadFile(file)
		check(t, err)
		if code != 1 || !strings.Contains(string(text), "Sunbeam ends with an error") || !strings.Contains(string(text), "in use") || !strings.Contains(stderr, "in use") {
			t.Errorf("%s: exit %d, %q, log file\n%s", format, code, stderr, text)
		}
		hidesSecrets(t, stderr+string(text))
	}
	stdout, stderr, _ := sunbeam(t, "--hoodi", "--beacon.api", "https://alice:hunter2@x/v3/0123456789abcdef", "--nodekeyhex", strings.Repeat("5e", 32), "dumpconfig")
	if hidesSecrets(t, stdout+stderr); !strings.Contains(stdout, "it has credentials") || strings.Contains(stdout, strings.Repeat("5e", 32)) {
		t.Errorf("dumpconfig:\n%s%s", stdout, stderr)
	}
	_, stderr, _ = sunbeam(t, "--hoodi", "--beacon.api", "ftp://alice:hunter2@x", "dumpconfig")
	hidesSecrets(t, stderr)

	var out bytes.Buffer
	cfg := config.Default()
	cfg.Beacon.API = []string{"http://alice:hunter2@x:1/v3/0123456789abcdef?k=0123456789abcdef"}
	cfg.Beacon.Headers = []string{"Authorization: t0ken"}
	log, _, err := newLogger(cfg.Log, cfg.Secrets(), &out)
	check(t, err)
	defer gethlog.SetDefault(gethlog.NewLogger(gethlog.DiscardHandler()))
	gethlog.Error("blsync", "server", cfg.Beacon.API[0], "err", `Get "http://alice:***@x:1/v3/0123456789abcdef/eth"`)
	log.Info("headers", "all", cfg.Beacon.Headers)
	if hidesSecrets(t, out.String()); !strings.Contains(out.String(), "http://(hidden)@x:1/(hidden)?(hidden)") {
		t.Errorf("log: %s", &out)
	}
}

func hidesSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"hunter2", "0123456789abcdef", "t0ken"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown in:\n%s", secret, text)
		}
	}
}
