// Command beambench measures the node on real input: see package internal/bench.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

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
		ExitErrHandler:  func(*cli.Context, error) {}, // main prints it, once
	}
}

// noArguments makes an action of one that takes flags only.
func noArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() > 0 {
			return fmt.Errorf("unexpected argument %q", c.Args().First())
		}
		return action(c)
	}
}

func blocks(bubble bench.Bubble) *cli.Command {
	return &cli.Command{
		Name:  "blocks",
		Usage: "execute witness files over a link, starting from an empty store",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "directory of witness files", Required: true},
			&cli.StringFlag{Name: "strategy", Usage: "naive, trinity, paths, beam, bal; several with commas, or all", Value: string(bench.Beam)},
			&cli.StringSliceFlag{Name: "rtt", Usage: "round-trip time of the link, several with commas", Value: cli.NewStringSlice("100ms")},
			&cli.StringSliceFlag{Name: "warm", Usage: "witness files of older blocks, executed before over the same store"},
			&cli.BoolFlag{Name: "hold-codes", Usage: "contract codes are held already"},
			&cli.IntFlag{Name: "peers", Usage: "how many peers serve the block", Value: 1},
			&cli.StringFlag{Name: "link", Usage: "virtual (in memory, virtual time) or loopback (TCP, real time)", Value: string(bench.Virtual)},
			&cli.BoolFlag{Name: "explain", Usage: "say what each trip waited for"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per block, strategy and round-trip time"},
		},
		Action: noArguments(func(c *cli.Context) error {
			strategies, err := bench.ParseStrategies(c.String("strategy"))
			if err != nil {
				return fmt.Errorf("--strategy: %w", err)
			}
			var rtts []time.Duration
			for _, text := range c.StringSlice("rtt") {
				rtt, err := time.ParseDuration(text)
				if err != nil {
					return fmt.Errorf("--rtt: %w", err)
				}
				rtts = append(rtts, rtt)
			}
			return bench.Blocks(c.Context, bench.BlocksOptions{
				Dir:        c.String("dir"),
				Warm:       c.StringSlice("warm"),
				HoldCodes:  c.Bool("hold-codes"),
				Strategies: strategies,
				RTTs:       rtts,
				Peers:      c.Int("peers"),
				Link:       bench.Link(c.String("link")),
				JSON:       c.Bool("json"),
				Explain:    c.Bool("explain"),
			}, bubble, os.Stdout)
		}),
	}
}
