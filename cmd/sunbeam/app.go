// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

func newApp(args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) *cli.App {
	name := "sunbeam"
	if calledAsGeth(args) {
		name = "geth"
	}
	a := &app{args: args, flags: config.NewFlags(calledAsGeth(args)), lookup: lookup, stdin: os.Stdin, stdout: stdout, stderr: stderr}
	flags, commands := a.flags.CLI(), a.commands()
	return &cli.App{
		Name:                 name,
		Usage:                "an Ethereum execution client that is usable in minutes",
		Version:              node.Version(),
		Flags:                flags,
		Action:               a.run,
		Before:               func(c *cli.Context) error { return apartFromValue(args, c.App) },
		Commands:             commands,
		BashComplete:         completes(flags, commands),
		Writer:               stdout,
		ErrWriter:            stderr,
		EnableBashCompletion: true,
		ExitErrHandler:       func(*cli.Context, error) {}, // main prints it
		OnUsageError:         a.usageError,
	}
}

// calledAsGeth says whether the program has the name geth, as a copy or by a link.
func calledAsGeth(args []string) bool {
	return len(args) > 0 && strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "geth"
}

// arguments checks their number.
func arguments(c *cli.Context, low, high int) error {
	switch n := c.NArg(); {
	case n > high && high == 0 && c.Command.Name == c.App.Name:
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
	secrets := cfg.Secrets()
	log, closeLog, err := newLogger(cfg.Log, secrets, a.stderr)
	if err != nil {
		return err
	}
	logNotes(log, notes)
	if names := a.flags.UnknownVariables(os.Environ()); len(names) > 0 {
		log.Warn("Environment variables are no settings, ignoring them", "names", strings.Join(names, ","))
	}
	return keepReason(cfg.Log, secrets, errors.Join(do(cfg, log), closeLog()))
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

func (a *app) dumpConfig(c *cli.Context) error {
	if err := arguments(c, 0, 1); err != nil {
		return err
	}
	cfg, notes, err := config.Load(a.flags, a.lookup)
	if err != nil {
		return err
	}
	log, _, err := newLogger(config.Log{Verbosity: cfg.Log.Verbosity, Format: cfg.Log.Format}, cfg.Secrets(), a.stderr)
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
