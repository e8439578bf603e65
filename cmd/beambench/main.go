// Command beambench measures the node on real input: see package internal/bench.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
)

func main() {
	args := os.Args // bench.Main hides them
	bench.Main(func(bubble bench.Bubble) int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := app(bubble).RunContext(ctx, args); err != nil {
			fmt.Fprintln(os.Stderr, "beambench:", err)
			return 1
		}
		return 0
	})
}

func app(bubble bench.Bubble) *cli.App {
	return &cli.App{
		Name:            "beambench",
		Usage:           "measure beam sync on real blocks and against a real geth",
		HideHelpCommand: true,
		Commands:        []*cli.Command{blocks(bubble)},
	}
}

func blocks(bubble bench.Bubble) *cli.Command {
	return &cli.Command{
		Name:  "blocks",
		Usage: "execute witness files over a link, starting from an empty store",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "directory of witness files", Required: true},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time of the link", Value: 100e6},
			&cli.StringFlag{Name: "link", Usage: "virtual (in memory, virtual time) or loopback (TCP, real time)", Value: string(bench.Virtual)},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per block"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("unexpected argument %q", c.Args().First())
			}
			return bench.Blocks(c.Context, bench.BlocksOptions{
				Dir:  c.String("dir"),
				RTT:  c.Duration("rtt"),
				Link: bench.Link(c.String("link")),
				JSON: c.Bool("json"),
			}, bubble, os.Stdout)
		},
	}
}
