// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
)

// lineBuffer tells of each line that is written.
type lineBuffer struct {
	bytes.Buffer
	lines chan struct{}
}

func (b *lineBuffer) Write(p []byte) (int, error) {
	defer func() { b.lines <- struct{}{} }()
	return b.Buffer.Write(p)
}

// TestFurtherSignals: the first signal stops the node in order, and ten more are needed to end it at once.
func TestFurtherSignals(t *testing.T) {
	out := &lineBuffer{lines: make(chan struct{}, 1)}
	exits := make(chan int, 1)
	ctx, stop := interruptible(out, func(code int) { exits <- code })
	defer stop()
	interrupt := func() {
		t.Helper()
		check(t, syscall.Kill(syscall.Getpid(), syscall.SIGINT))
	}
	interrupt()
	<-ctx.Done()
	for range patience - 1 {
		interrupt()
		<-out.lines
	}
	select {
	case code := <-exits:
		t.Fatalf("exits with %d after %d signals", code, patience)
	default:
	}
	interrupt()
	if code := <-exits; code != 1 {
		t.Errorf("exits with %d", code)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != patience-1 || !strings.Contains(lines[0], " 9 more ") || !strings.Contains(lines[8], " 1 more ") {
		t.Errorf("%q", lines)
	}
}
