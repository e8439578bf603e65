// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// patience is how many signals after the first one end the process while it stops: as in geth, so that a second Ctrl-C does not
// cost what a node writes when it stops in order.
const patience = 10

// stopSignal is why the context of a process ends that a signal stops.
type stopSignal struct{ signal os.Signal }

// Error names the signal.
func (s stopSignal) Error() string { return "signal " + s.signal.String() }

// Unwrap makes it what ends a context otherwise.
func (stopSignal) Unwrap() error { return context.Canceled }

// interruptible returns a context that the first SIGINT or SIGTERM ends. Further ones say how many more end the process at
// once.
func interruptible(stderr io.Writer, exit func(code int)) (ctx context.Context, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		for left := patience; left >= 0; left-- {
			var came os.Signal
			select {
			case came = <-signals:
			case <-done:
				return
			}
			cancel(stopSignal{came})
			switch left {
			case patience:
			case 0:
				exit(1)
			default:
				fmt.Fprintf(stderr, "sunbeam: is stopping already; %d more signals end it at once, and lose what it has not written\n", left)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
