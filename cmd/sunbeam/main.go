// SPDX-License-Identifier: LGPL-3.0-or-later

// Command sunbeam is an Ethereum execution client that is usable in minutes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first signal ends the context and restores the system's handling, so that the
	// second one ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := newApp(os.Args, os.LookupEnv, os.Stdout, os.Stderr).RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "sunbeam:", oneLine(err))
		os.Exit(1)
	}
}
