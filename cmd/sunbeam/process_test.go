// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a node that runs.
type process struct {
	cmd     *exec.Cmd
	log     bytes.Buffer  // may be read when ended is closed
	ended   chan struct{} // closed when the log is complete
	running string        // the line with the addresses
	exited  chan error    // of the process
}

// start starts a node and waits until it says that it runs. It must log in logfmt.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	reader, writer := io.Pipe()
	cmd.Stderr = writer
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // one that a failed test leaves
		_ = reader.Close()
	})
	up := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewReader(reader)
		for {
			line, err := lines.ReadString('\n')
			p.log.WriteString(line)
			if strings.Contains(line, "Sunbeam is running") {
				up <- line
			}
			if err != nil {
				return
			}
		}
	}()
	exited := make(chan error, 1)
	go func() {
		exited <- cmd.Wait()
		_ = writer.Close()
	}()
	p.exited = exited
	select {
	case p.running = <-up:
	case <-p.ended:
		t.Fatalf("node ended: %s", &p.log)
	case <-time.After(time.Minute):
		t.Fatal("node does not start")
	}
	return p
}

// addr is the address of an endpoint: http, ws or engine.
func (p *process) addr(endpoint string) string {
	if m := regexp.MustCompile(` ` + endpoint + `=(\S+)`).FindStringSubmatch(p.running); m != nil {
		return m[1]
	}
	return ""
}

// stop sends a signal and waits for the end, which must be an orderly one.
func (p *process) stop(t *testing.T, signal syscall.Signal) {
	t.Helper()
	check(t, p.cmd.Process.Signal(signal))
	err := <-p.exited
	<-p.ended
	if err != nil {
		t.Errorf("%s: %v\n%s", signal, err, &p.log)
	}
}

// run starts a node that is reached on loopback only.
func run(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return start(t, command(ctx, t, append([]string{
		"--port", "0", "--nodiscover", "--nat", "none", "--authrpc.addr", "127.0.0.1",
		"--authrpc.port", "0", "--log.format", "logfmt",
	}, args...)...))
}
