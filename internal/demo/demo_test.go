// SPDX-License-Identifier: LGPL-3.0-or-later

package demo_test

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// small is the demo in a size for every day.
func small(t *testing.T, out *bytes.Buffer) demo.Config {
	t.Helper()
	cfg := demo.Default(t.TempDir(), out)
	cfg.State = stategen.Spec{Accounts: 2000, Senders: 50, Contracts: 5, Codes: 3, Slots: 2000}
	cfg.Delay = 5 * time.Millisecond
	cfg.Slot = time.Second
	return cfg
}

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	cfg := small(t, &out)
	cfg.Blocks = 3
	if err := demo.Run(t.Context(), cfg); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	if !regexp.MustCompile(`^demo: full after \d+ s, and ([3-9]|\d\d) blocks VALID, first VALID after \d+\.\d s, [1-9]\d* trips, [1-9]\d* nodes, [1-9]\d* bytes$`).MatchString(last) {
		t.Errorf("the last line is %q", last)
	}
	blocks := regexp.MustCompile(`(?m)^block \d+  VALID .*$`).FindAllString(out.String(), -1)
	if len(blocks) < 3 {
		t.Errorf("%d lines of blocks in\n%s", len(blocks), &out)
	}
	for _, line := range blocks { // what a node too slow for its slots accepts by a descendant was not its last block
		if !strings.Contains(line, " faults ") && !strings.Contains(line, "(by a descendant)") {
			t.Errorf("nothing about the execution in %q", line)
		}
	}
	if !regexp.MustCompile(`(?m)^sunbeam has the whole state, \d+ s`).MatchString(out.String()) {
		t.Errorf("nothing about the backfill in\n%s", &out)
	}
	if !regexp.MustCompile(`(?m)^[1-9]\d* answers compared, 0 different`).MatchString(out.String()) {
		t.Errorf("nothing was compared:\n%s", &out)
	}
}

// Interrupted, the demo ends well and soon.
func TestDemoInterrupted(t *testing.T) {
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	lines := &watcher{buffer: &out, text: regexp.MustCompile(`block \d+ +VALID`), seen: cancel}
	cfg := small(t, &out)
	cfg.Out = lines
	go func() { done <- demo.Run(ctx, cfg) }()
	if err := <-done; err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if took := time.Since(lines.at); took > time.Minute {
		t.Errorf("it took %v to end", took)
	}
	if !regexp.MustCompile(`(?m)^demo: (full after \d+ s|not full yet), and [1-9]\d* blocks VALID`).MatchString(out.String()) {
		t.Errorf("no summary:\n%s", &out)
	}
}

// Interrupted while it builds, the demo ends without an error, and soon.
func TestDemoInterruptedBefore(t *testing.T) {
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cfg := small(t, &out)
	cfg.Out = &watcher{buffer: &out, text: regexp.MustCompile(`Ctrl-C ends`), seen: func() { time.AfterFunc(300*time.Millisecond, cancel) }}
	began := time.Now()
	if err := demo.Run(ctx, cfg); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if took := time.Since(began); took > time.Minute || !strings.HasSuffix(out.String(), "demo: interrupted before it began\n") {
		t.Errorf("it took %v to end:\n%s", took, &out)
	}
}

// watcher calls seen when text is written for the first time.
type watcher struct {
	buffer *bytes.Buffer
	text   *regexp.Regexp
	seen   func()
	at     time.Time
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.at.IsZero() && w.text.Match(p) {
		w.at = time.Now()
		w.seen()
	}
	return w.buffer.Write(p)
}
