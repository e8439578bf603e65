// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
)

func load() *cli.Command {
	return &cli.Command{
		Name:  "load",
		Usage: "import blocks into a full node, every second one while callers trace others without pause",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "blocks", Usage: "how many blocks without traces, and as many with them", Value: 40},
			&cli.IntFlag{Name: "callers", Usage: "callers that trace at the same time", Value: 20},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time between node and geth, while it collects the state"},
			&cli.DurationFlag{Name: "slot", Usage: "time from block to block", Value: 500 * time.Millisecond},
			&cli.Float64Flag{Name: "mgas", Usage: "gas that each block uses, about, in millions", Value: 30},
			&cli.StringFlag{Name: "mix", Usage: "transactions: cold or mixed", Value: "mixed"},
			&cli.IntFlag{Name: "accounts", Usage: "accounts in the state; it is made once", Value: 200_000},
			&cli.StringFlag{Name: "sunbeam", Usage: "node binary (built from the module here if empty)"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object"},
		},
		Action: noArguments(func(c *cli.Context) error {
			mix, err := bench.ParseMix(c.String("mix"))
			if err != nil {
				return fmt.Errorf("--mix: %w", err)
			}
			testbed := testbedOptions(c)
			testbed.State = bench.StateOf(c.Int("accounts"))
			_, err = bench.Load(c.Context, bench.LoadOptions{TestbedOptions: testbed, Blocks: c.Int("blocks"), Mix: mix, Callers: c.Int("callers")}, os.Stdout)
			return err
		}),
	}
}
