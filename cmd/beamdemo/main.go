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

func run(ctx context.Context) error {
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
