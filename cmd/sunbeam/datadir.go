// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/era"
	"github.com/sunbeam-eth/sunbeam/internal/node"
)

// Commands that work on the datadir of a node that does not run.

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

func (a *app) export(c *cli.Context) error {
	if err := arguments(c, 1, 3); err != nil {
		return err
	}
	var numbers []uint64
	for _, text := range c.Args().Tail() {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("bad block number %q: want export FILE [FIRST LAST]", text)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 1 || len(numbers) == 2 && numbers[1] < numbers[0] {
		return errors.New("want the first and the last block, in this order: export FILE [FIRST LAST]")
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		return node.Export(c.Context, cfg, c.Args().First(), numbers, log)
	})
}

func (a *app) dumpGenesis(c *cli.Context) error {
	if err := arguments(c, 0, 0); err != nil {
		return err
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		genesis, err := node.Genesis(cfg, log)
		if err != nil {
			return err
		}
		return json.NewEncoder(a.stdout).Encode(genesis)
	})
}

// removeDatabase asks first, unless geth's flags for both kinds of data answer.
func (a *app) removeDatabase(c *cli.Context) error {
	if err := arguments(c, 0, 0); err != nil {
		return err
	}
	state, chain := c.IsSet("remove.state"), c.IsSet("remove.chain")
	if state != chain || c.Bool("remove.state") != c.Bool("remove.chain") {
		return errors.New("state and chain are in one database: give both --remove.state and --remove.chain, or neither")
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		found, err := node.DatabasePaths(cfg)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			fmt.Fprintf(a.stdout, "%s has no database\n", cfg.DataDir)
			return nil
		}
		sure := c.Bool("remove.state")
		if !state {
			fmt.Fprintf(a.stdout, "Remove these?\n  %s\n", strings.Join(found, "\n  "))
			if kept := node.KeptPaths(cfg); len(kept) > 0 {
				fmt.Fprintf(a.stdout, "These stay:\n  %s\n", strings.Join(kept, "\n  "))
			}
			fmt.Fprint(a.stdout, "[y/N] ")
			if sure, err = yes(a.stdin); err != nil {
				return err
			}
		}
		if !sure {
			_, err := fmt.Fprintln(a.stdout, "Nothing is removed")
			return err
		}
		if err := node.RemoveDatabase(cfg, log); err != nil {
			return err
		}
		if kept := node.KeptPaths(cfg); len(kept) > 0 {
			log.Info("Kept", "paths", strings.Join(kept, ","))
		}
		return nil
	})
}

// yes reads an answer; none means no.
func yes(in io.Reader) (bool, error) {
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// pruneHistory wants the range to be named, as geth does: what is deleted is not left to a default.
func (a *app) pruneHistory(c *cli.Context) error {
	if err := arguments(c, 0, 0); err != nil {
		return err
	}
	if !a.flags.Given("history.chain", a.lookup) {
		return errors.New("prune-history needs --history.chain: which blocks stay")
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error { return node.PruneHistory(c.Context, cfg, log) })
}

func (a *app) stats(c *cli.Context) error { return a.inspect(c, node.Stats) }

func (a *app) verify(c *cli.Context) error { return a.inspect(c, node.Verify) }

// inspect prints something about the databases.
func (a *app) inspect(c *cli.Context, print func(context.Context, *config.Config, *slog.Logger, io.Writer) error) error {
	if err := arguments(c, 0, 0); err != nil {
		return err
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error { return print(c.Context, cfg, log, a.stdout) })
}

// eraFormat is geth's flag for the format of archives.
func eraFormat() cli.Flag {
	return &cli.StringFlag{Name: "era.format", Usage: "Format of the archives: era1 or ere (default: what is there; to export, era1 up to the merge and ere after it)"}
}

func formatOf(c *cli.Context) (era.Format, error) {
	switch text := c.String("era.format"); text {
	case "":
		return "", nil
	case "era1", "era":
		return era.Era1, nil
	case "ere":
		return era.Ere, nil
	default:
		return "", fmt.Errorf("bad --era.format %q: want era1 or ere", text)
	}
}

func (a *app) importHistory(c *cli.Context) error {
	if err := arguments(c, 1, 1); err != nil {
		return err
	}
	format, err := formatOf(c)
	if err != nil {
		return err
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		return node.ImportHistory(c.Context, cfg, c.Args().First(), format, log)
	})
}

func (a *app) exportHistory(c *cli.Context) error {
	if err := arguments(c, 3, 3); err != nil {
		return err
	}
	format, err := formatOf(c)
	if err != nil {
		return err
	}
	var numbers [2]uint64
	for i, text := range c.Args().Tail() {
		if numbers[i], err = strconv.ParseUint(text, 10, 63); err != nil {
			return fmt.Errorf("bad block number %q: want export-history DIR FIRST LAST", text)
		}
	}
	if numbers[1] < numbers[0] {
		return fmt.Errorf("first block %d is after the last, %d", numbers[0], numbers[1])
	}
	return a.configured(func(cfg *config.Config, log *slog.Logger) error {
		return node.ExportHistory(c.Context, cfg, c.Args().First(), numbers[0], numbers[1], format, log)
	})
}
