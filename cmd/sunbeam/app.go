// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"strings"

	gethmetrics "github.com/ethereum/go-ethereum/metrics"
	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
	"github.com/sunbeam-eth/sunbeam/internal/node"
)

// app is the command line. Flags may stand before or after a subcommand.
type app struct {
	args   []string // the command line, with the name of the program
	flags  *config.Flags
	lookup func(string) (string, bool) // environment
	stdout io.Writer
	stderr io.Writer
}

func newApp(args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) *cli.App {
	a := &app{args: args, flags: config.NewFlags(calledAsGeth(args)), lookup: lookup, stdout: stdout, stderr: stderr}
	return &cli.App{
		Name:            "sunbeam",
		Usage:           "an Ethereum execution client that is usable in minutes",
		Version:         node.Version(),
		Flags:           a.flags.CLI(),
		Action:          a.run,
		Commands:        a.commands(),
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main prints it
		OnUsageError:    a.usageError,
	}
}

func (a *app) commands() []*cli.Command {
	command := func(name, usage, args string, action cli.ActionFunc) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args, Action: action, Flags: a.flags.CLI(),
			OnUsageError: a.usageError, HideHelpCommand: true,
		}
	}
	return []*cli.Command{
		command("run", "Run the node (the default)", " ", a.run),
		command("init", "Make the datadir that of the network in a genesis JSON file", "GENESIS", a.init),
		command("import", "Execute blocks from RLP files (.gz too) on the stored state", "FILE...", a.importBlocks),
		command("dumpconfig", "Print the configuration as TOML, as --config reads it, or write it to a file", "[FILE]", a.dumpConfig),
		{
			Name: "version", Usage: "Print the version", OnUsageError: a.usageError, HideHelpCommand: true,
			Action: func(c *cli.Context) error {
				if err := arguments(c, 0, 0); err != nil {
					return err
				}
				_, err := fmt.Fprint(a.stdout, node.VersionText())
				return err
			},
		},
		{
			Name: "db", Usage: "Look into the databases", OnUsageError: a.usageError, HideHelpCommand: true,
			Subcommands: []*cli.Command{
				command("stats", "Print the size of each kind of data in the databases", " ", a.stats),
				command("verify", "Read the whole state of a full node and compare every trie node with its hash", " ", a.verify),
			},
			Action: func(c *cli.Context) error {
				return fmt.Errorf("unknown command %q: db has stats and verify", strings.Join(append([]string{"db"}, c.Args().Slice()...), " "))
			},
		},
	}
}

// calledAsGeth says whether the program has the name geth, as a copy or by a link.
func calledAsGeth(args []string) bool {
	return len(args) > 0 && strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "geth"
}

// arguments checks their number.
func arguments(c *cli.Context, low, high int) error {
	switch n := c.NArg(); {
	case n > high && high == 0 && c.Command.Name == "sunbeam":
		return fmt.Errorf("unknown command %q", c.Args().First())
	case n > high:
		return fmt.Errorf("unexpected argument %q", c.Args().Get(high))
	case n < low:
		return fmt.Errorf("%s needs %s", c.Command.Name, c.Command.ArgsUsage)
	}
	return nil
}

// configured calls do with the configuration and a logger, which it closes afterwards.
func (a *app) configured(do func(*config.Config, *slog.Logger) error) error {
	cfg, notes, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	log, closeLog, err := newLogger(cfg.Log, a.stderr)
	if err != nil {
		return err
	}
	logNotes(log, notes)
	return errors.Join(do(cfg, log), closeLog())
}

// logNotes warns of settings that have another effect than they ask for.
func logNotes(log *slog.Logger, notes []config.Note) {
	for _, note := range notes {
		log.Warn("Setting does not do what it does in geth", "flag", "--"+note.Flag, "value", note.Value, "instead", note.Instead)
	}
}

func (a *app) run(c *cli.Context) error {
	if err := arguments(c, 0, 0); err != nil {
		return err
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		if cfg.Metrics.Enabled {
			gethmetrics.Enable() // once per process, before anything counts
		}
		a.limitMemory(cfg.Store)
		n, err := node.New(cfg, log)
		if err != nil {
			return err
		}
		return n.Run(c.Context)
	})
}

// beyondCaches is memory that --cache does not cover, MB: the states of a full node's newest 128 blocks, and
// blocks that are being imported.
const beyondCaches = 768

// limitMemory sets the memory limit of the garbage collector: one and a half times the caches, and memory outside of
// them. Without a limit it lets the heap double: with 670 MB in use the process took 2 GB.
func (a *app) limitMemory(cfg config.Store) {
	_, given := a.lookup("GOMEMLIMIT")
	switch {
	case cfg.MemoryLimitMB > 0:
		debug.SetMemoryLimit(int64(cfg.MemoryLimitMB) << 20)
	case !given:
		debug.SetMemoryLimit(int64(cfg.CacheMB*3/2+beyondCaches) << 20)
	}
	if cfg.GOGC != 0 {
		debug.SetGCPercent(cfg.GOGC)
	}
}

func (a *app) init(c *cli.Context) error {
	if err := arguments(c, 1, 1); err != nil {
		return err
	}
	genesis, err := config.ReadGenesis(c.Args().First())
	if err != nil {
		return fmt.Errorf("bad genesis %q: %w", c.Args().First(), err)
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error { return node.Init(cfg, genesis, log) })
}

func (a *app) importBlocks(c *cli.Context) error {
	if err := arguments(c, 1, 1<<30); err != nil {
		return err
	}
	a.flags.ForImport()
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		return node.Import(c.Context, cfg, c.Args().Slice(), log)
	})
}

func (a *app) dumpConfig(c *cli.Context) error {
	if err := arguments(c, 0, 1); err != nil {
		return err
	}
	cfg, notes, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	log, _, err := newLogger(config.Log{Verbosity: cfg.Log.Verbosity, Format: cfg.Log.Format}, a.stderr)
	if err != nil {
		return err
	}
	logNotes(log, notes)
	if file := c.Args().First(); file != "" {
		return atomicfile.Write(file, cfg.TOML())
	}
	_, err = a.stdout.Write(cfg.TOML())
	return err
}

func (a *app) stats(c *cli.Context) error { return a.inspect(c, node.Stats) }

func (a *app) verify(c *cli.Context) error { return a.inspect(c, node.Verify) }

// look prints something about the databases.
func (a *app) inspect(c *cli.Context, print func(context.Context, *config.Config, io.Writer) error) error {
	if err := arguments(c, 0, 0); err != nil {
		return err
	}
	return a.configured(func(cfg *config.Config, _ *slog.Logger) error { return print(c.Context, cfg, a.stdout) })
}

// oneLine keeps a message to one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
