// SPDX-License-Identifier: LGPL-3.0-or-later

// Command beambench measures the node on real input: see package internal/bench.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
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
		Commands:        []*cli.Command{blocks(bubble), trace(), follow(), propose(), load(), backfill(), swarm(), peers(bubble), bals()},
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
			&cli.BoolFlag{Name: "stored-code", Usage: "the contract code is in the store already, and which contract has which is known"},
			&cli.StringFlag{Name: "stored-state", Usage: "how much of the state is in the store already: percentages of accounts and of slots, as in 57,46"},
			&cli.IntFlag{Name: "peers", Usage: "how many peers serve the block", Value: 1},
			&cli.StringFlag{Name: "link", Usage: "virtual (in memory, virtual time) or loopback (TCP, real time)", Value: string(bench.Virtual)},
			&cli.BoolFlag{Name: "explain", Usage: "say what each trip waited for"},
			&cli.BoolFlag{Name: "depth", Usage: "print how many trips the data dependency of each block takes at least, given what is in the store; with --explain, the longest chain"},
			&cli.BoolFlag{Name: "cpu", Usage: "print the processor time of each block"},
			&cli.StringFlag{Name: "cpuprofile", Usage: "file to write a profile of the processor time to, for go tool pprof"},
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
			stored, err := bench.ParseStoredState(c.String("stored-state"))
			if err != nil {
				return fmt.Errorf("--stored-state: %w", err)
			}
			stop, err := profileCPU(c.String("cpuprofile"))
			if err != nil {
				return fmt.Errorf("--cpuprofile: %w", err)
			}
			defer stop()
			return bench.Blocks(c.Context, bench.BlocksOptions{
				Dir:         c.String("dir"),
				Warm:        c.StringSlice("warm"),
				StoredCode:  c.Bool("stored-code"),
				StoredState: stored,
				Strategies:  strategies,
				RTTs:        rtts,
				Peers:       c.Int("peers"),
				Link:        bench.Link(c.String("link")),
				JSON:        c.Bool("json"),
				Explain:     c.Bool("explain"),
				CPU:         c.Bool("cpu"),
				Depth:       c.Bool("depth"),
			}, bubble, os.Stdout)
		}),
	}
}

// profileCPU writes a profile to a file until stop is called; without a name it does nothing.
func profileCPU(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}

func trace() *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "trace the blocks of witness files from an empty store, and compare with go-ethereum's tracers",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "directory of witness files", Required: true},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time of the link", Value: 100 * time.Millisecond},
			&cli.Uint64Flag{Name: "maxgas", Usage: "leave out blocks that use more gas", Value: 12_000_000},
			&cli.IntFlag{Name: "repeats", Usage: "warm traces; the fastest counts", Value: 3},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per block and tracer"},
		},
		Action: noArguments(func(c *cli.Context) error {
			return bench.Traces(c.Context, bench.TracesOptions{
				Dir: c.String("dir"), RTT: c.Duration("rtt"), MaxGas: c.Uint64("maxgas"), Repeats: c.Int("repeats"), JSON: c.Bool("json"),
			}, os.Stdout)
		}),
	}
}

func follow() *cli.Command {
	return &cli.Command{
		Name:  "follow",
		Usage: "let a fresh node follow a chain that a real geth builds on a large generated state",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "blocks", Usage: "how many blocks", Value: 30},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time between node and geth", Value: 100 * time.Millisecond},
			&cli.DurationFlag{Name: "slot", Usage: "time from block to block", Value: 12 * time.Second},
			&cli.Float64Flag{Name: "mgas", Usage: "gas that each block uses, about, in millions", Value: 60},
			&cli.StringFlag{Name: "mix", Usage: "cold (transfers and cold storage reads), mixed (a bit of everything) or mainnet (touches again what recent blocks touched, as mainnet does)", Value: "cold"},
			&cli.DurationFlag{Name: "stall", Usage: "how long the link stands still in the middle of the run"},
			&cli.BoolFlag{Name: "build", Usage: "have the node build a block on every second one, of the next block's transactions"},
			&cli.BoolFlag{Name: "backfill", Value: true, Usage: "let the node collect the rest of the state too; false keeps it beaming to the end"},
			&cli.BoolFlag{Name: "warmup", Value: true, Usage: "let the node fetch what the blocks before the first one used"},
			&cli.IntFlag{Name: "accounts", Usage: "accounts in the state; it is made once", Value: 1_000_000},
			&cli.StringFlag{Name: "sunbeam", Usage: "node binary (built from the module here if empty)"},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per block and one for the whole run"},
		},
		Action: noArguments(func(c *cli.Context) error {
			mix, err := bench.ParseMix(c.String("mix"))
			if err != nil {
				return fmt.Errorf("--mix: %w", err)
			}
			testbed := testbedOptions(c)
			testbed.State = bench.StateOf(c.Int("accounts"))
			testbed.State.Mainnet = mix.Mainnet
			return bench.Follow(c.Context, bench.FollowOptions{
				TestbedOptions: testbed,
				Blocks:         c.Int("blocks"),
				Mix:            mix,
				Stall:          c.Duration("stall"),
				Build:          c.Bool("build"),
				Backfill:       c.Bool("backfill"),
				Warmup:         c.Bool("warmup"),
			}, os.Stdout)
		}),
	}
}

// testbedOptions are those that flags of the same name set, but for the state.
func testbedOptions(c *cli.Context) bench.TestbedOptions {
	return bench.TestbedOptions{
		RTT:      c.Duration("rtt"),
		Slot:     c.Duration("slot"),
		Gas:      uint64(c.Float64("mgas") * 1e6),
		CacheDir: statesDir(),
		Sunbeam:  c.String("sunbeam"),
		JSON:     c.Bool("json"),
		Progress: os.Stderr,
	}
}

// statesDir is where generated states are kept.
func statesDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "sunbeam", "states")
}

func bals() *cli.Command {
	return &cli.Command{
		Name:  "bals",
		Usage: "plan the fetching of what block access lists name, on paper",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "directory of access lists (NUMBER_*.rlp)", Required: true},
			&cli.IntFlag{Name: "account-depth", Usage: "assumed nodes on the way to an account", Value: 9},
			&cli.IntFlag{Name: "storage-depth", Usage: "assumed nodes on the way to a slot", Value: 7},
			&cli.IntFlag{Name: "node-bytes", Usage: "assumed size of a node", Value: 345},
			&cli.IntSliceFlag{Name: "peers", Usage: "numbers of peers to share the work", Value: cli.NewIntSlice(1, 5, 25)},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per list"},
		},
		Action: noArguments(func(c *cli.Context) error {
			return bench.BALs(c.Context, bench.BALsOptions{
				Dir:          c.String("dir"),
				AccountDepth: c.Int("account-depth"),
				StorageDepth: c.Int("storage-depth"),
				NodeBytes:    c.Int("node-bytes"),
				Peers:        c.IntSlice("peers"),
				JSON:         c.Bool("json"),
			}, os.Stdout)
		}),
	}
}

func peers(bubble bench.Bubble) *cli.Command {
	return &cli.Command{
		Name:  "peers",
		Usage: "execute witness files with one good peer among bad ones: empty, slow, lying, disconnecting",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "directory of witness files", Required: true},
			&cli.IntFlag{Name: "blocks", Usage: "how many blocks; files are used again when there are fewer", Value: 100},
			&cli.IntFlag{Name: "bad", Usage: "how many bad peers", Value: 24},
			&cli.DurationFlag{Name: "rtt", Usage: "round-trip time to all but the slow ones, virtual", Value: 100 * time.Millisecond},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object per block"},
		},
		Action: noArguments(func(c *cli.Context) error {
			_, err := bench.Peers(c.Context, bench.PeersOptions{
				Dir: c.String("dir"), Blocks: c.Int("blocks"), Bad: c.Int("bad"), RTT: c.Duration("rtt"), JSON: c.Bool("json"),
			}, bubble, os.Stdout)
			return err
		}),
	}
}
