// SPDX-License-Identifier: LGPL-3.0-or-later

// Command sunbeam is an Ethereum execution client that is usable in minutes.
package main

import (
	"fmt"
	"os"

	"github.com/sunbeam-eth/sunbeam/config"
)

func main() {
	ctx, stop := interruptible(os.Stderr, os.Exit)
	defer stop()
	if err := newApp(os.Args, os.LookupEnv, os.Stdout, os.Stderr).RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "sunbeam:", config.OneLine(err))
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}
