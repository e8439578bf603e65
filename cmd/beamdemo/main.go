// SPDX-License-Identifier: LGPL-3.0-or-later

// Command beamdemo shows a fresh node beaming from a real geth with a large state: what
// `make demo` runs. With DEMO_BLOCKS=N it ends when the node is full and N blocks were executed, successfully if all of
// them were VALID; without it, it goes on until it is interrupted.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/sunbeam-eth/sunbeam/internal/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

const usage = `Shows a fresh node beaming from a real geth with a large state. It takes no arguments.
With DEMO_BLOCKS=N in the environment it ends when the node is full and N blocks were executed.
`

func run(ctx context.Context) error {
	switch args := os.Args[1:]; {
	case len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help"):
		_, err := fmt.Print(usage)
		return err
	case len(args) > 0:
		return fmt.Errorf("unexpected argument %q: there are none, see --help", args[0])
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cfg := demo.Default(filepath.Join(cache, "sunbeam", "states"), os.Stdout)
	if text := os.Getenv("DEMO_BLOCKS"); text != "" {
		if cfg.Blocks, err = strconv.Atoi(text); err != nil || cfg.Blocks < 1 {
			return fmt.Errorf("DEMO_BLOCKS=%q is not a number of blocks", text)
		}
	}
	return demo.Run(ctx, cfg)
}
