// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/internal/bench"
)

func propose() *cli.Command {
	phases := []string{bench.ProposeBeaming, bench.ProposeBackfill, bench.ProposeFull}
	return &cli.Command{
		Name:  "propose",
		Usage: "propose every slot through a fresh node, with stock geth as the judge of each payload",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "blocks", Usage: "how many proposals while beaming, and as many as a full node", Value: 20},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time between node and geth", Value: 100 * time.Millisecond},
			&cli.DurationFlag{Name: "slot", Usage: "time from block to block; the payload is asked for in its middle", Value: 4 * time.Second},
			&cli.Float64Flag{Name: "mgas", Usage: "gas of the transactions that are sent for each block, about, in millions", Value: 10},
			&cli.IntFlag{Name: "accounts", Usage: "accounts in the state; it is made once", Value: 200_000},
			&cli.StringFlag{Name: "mix", Usage: "transactions: cold or mixed", Value: "mixed"},
			&cli.StringFlag{Name: "fork", Usage: "prague, osaka or amsterdam", Value: "osaka"},
			&cli.StringFlag{Name: "phases", Usage: "of the node, with commas", Value: strings.Join(phases, ",")},
			&cli.DurationFlag{Name: "start", Usage: "from the start of the node to the first proposal", Value: 10 * time.Second},
			&cli.StringFlag{Name: "sunbeam", Usage: "node binary (built from the module here if empty)"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per phase"},
		},
		Action: noArguments(func(c *cli.Context) error {
			mix, err := bench.ParseMix(c.String("mix"))
			if err != nil {
				return fmt.Errorf("--mix: %w", err)
			}
			wanted := strings.Split(c.String("phases"), ",")
			for _, phase := range wanted {
				if !slices.Contains(phases, phase) {
					return fmt.Errorf("--phases: %q is none of %s", phase, strings.Join(phases, ", "))
				}
			}
			testbed := testbedOptions(c)
			testbed.State = bench.StateOf(c.Int("accounts"))
			switch fork := c.String("fork"); fork {
			case "prague":
				testbed.State.Prague = true
			case "amsterdam":
				testbed.State.Amsterdam = true
			case "osaka":
			default:
				return fmt.Errorf("--fork: %q is none of prague, osaka, amsterdam", fork)
			}
			_, err = bench.Propose(c.Context, bench.ProposeOptions{
				TestbedOptions: testbed, Blocks: c.Int("blocks"), Mix: mix, Start: c.Duration("start"), Phases: wanted,
			}, os.Stdout)
			return err
		}),
	}
}
