// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
)

func backfill() *cli.Command {
	return &cli.Command{
		Name:  "backfill",
		Usage: "let a fresh node become full while the chain grows, compared with stock geth doing the same",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "accounts", Usage: "accounts in the state; it is made once", Value: 1_000_000},
			&cli.IntFlag{Name: "slots", Usage: "storage slots in the state, a third of them in one contract", Value: 3_000_000},
			&cli.IntFlag{Name: "peers", Usage: "how many geths serve the state", Value: 1},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time between the node and each geth"},
			&cli.DurationFlag{Name: "slot", Usage: "time from block to block", Value: 2 * time.Second},
			&cli.Float64Flag{Name: "mgas", Usage: "gas that each block uses, about, in millions", Value: 2},
			&cli.StringFlag{Name: "vs", Usage: "geth: compare with a fresh geth's own snap sync"},
			&cli.IntFlag{Name: "kills", Usage: "kill the node so often in one more run, to count what is fetched twice"},
			&cli.BoolFlag{Name: "alone", Usage: "follow the blocks without backfill as well, to compare their times", Value: true},
			&cli.StringFlag{Name: "until", Usage: "full (the phase), flat (full, and the flat state is complete) or state (one state is complete)", Value: "full"},
			&cli.DurationFlag{Name: "timeout", Usage: "time limit of each run", Value: 15 * time.Minute},
			&cli.StringFlag{Name: "engine", Usage: "database engine: leveldb or pebble (default: the node's)"},
			&cli.StringFlag{Name: "sunbeam", Usage: "node binary (built from the module here if empty)"},
			&cli.BoolFlag{Name: "json", Usage: "print the JSON object only"},
		},
		Action: noArguments(func(c *cli.Context) error {
			testbed := testbedOptions(c)
			testbed.State = bench.BackfillState(c.Int("accounts"), c.Int("slots"))
			_, err := bench.Backfill(c.Context, bench.BackfillOptions{
				TestbedOptions: testbed,
				Peers:          c.Int("peers"),
				Versus:         c.String("vs"),
				Kills:          c.Int("kills"),
				Alone:          c.Bool("alone"),
				Until:          c.String("until"),
				Engine:         c.String("engine"),
				Timeout:        c.Duration("timeout"),
			}, os.Stdout)
			return err
		}),
	}
}
