// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
)

func swarm() *cli.Command {
	return &cli.Command{
		Name:  "swarm",
		Usage: "let several fresh nodes become full together, from one geth whose upload is limited",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "nodes", Usage: "how many start together", Value: 2},
			&cli.BoolFlag{Name: "late", Usage: "one more starts when the others are half done"},
			&cli.IntFlag{Name: "accounts", Usage: "accounts in the state; it is made once", Value: 100_000},
			&cli.IntFlag{Name: "slots", Usage: "storage slots in the state, a third of them in one contract", Value: 300_000},
			&cli.Int64Flag{Name: "upload", Usage: "bytes per second that geth sends to all nodes together", Value: 2_000_000},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time of all links", Value: 100 * time.Millisecond},
			&cli.DurationFlag{Name: "slot", Usage: "time from block to block", Value: 4 * time.Second},
			&cli.Float64Flag{Name: "mgas", Usage: "gas that each block uses, about, in millions", Value: 0.5},
			&cli.DurationFlag{Name: "timeout", Usage: "time limit of each run", Value: 10 * time.Minute},
			&cli.StringFlag{Name: "sunbeam", Usage: "node binary (built from the module here if empty)"},
			&cli.StringFlag{Name: "logs", Usage: "directory in which the nodes' logs are kept"},
			&cli.BoolFlag{Name: "json", Usage: "print the JSON object only"},
		},
		Action: noArguments(func(c *cli.Context) error {
			testbed := testbedOptions(c)
			testbed.State = bench.BackfillState(c.Int("accounts"), c.Int("slots"))
			_, err := bench.Swarm(c.Context, bench.SwarmOptions{
				TestbedOptions: testbed,
				Nodes:          c.Int("nodes"),
				Late:           c.Bool("late"),
				Upload:         c.Int64("upload"),
				Timeout:        c.Duration("timeout"),
				LogDir:         c.String("logs"),
			}, os.Stdout)
			return err
		}),
	}
}
