// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// otherFlags is said of commands whose help shows the flags that they use only.
const otherFlags = "The other flags of the node are taken as well: see sunbeam --help."

// shownFlags are those that the help and the completion of a command show; nil: all.
func shownFlags(command string) []string {
	where := []string{"config", "datadir", "network", "mainnet", "sepolia", "hoodi"}
	running := append(slices.Clone(where), "ipcpath", "header")
	stored := append(slices.Clone(where), "cache", "db.engine", "verbosity", "log.format", "log.file", "log.vmodule")
	switch command {
	case "status", "top":
		return running
	case "attach":
		return append(running, "exec", "jspath", "preload")
	case "init", "export", "export-history", "stats", "verify":
		return stored
	case "dumpgenesis":
		return append(stored, "override.genesis")
	case "import":
		return append(stored, "override.genesis", "override.osaka", "override.bpo1", "override.bpo2", "override.amsterdam", "override.ubt")
	case "import-history", "prune-history":
		return append(stored, "history.chain", "override.genesis")
	case "removedb":
		return append(where, "blobpool.datadir", "txpool.journal", "verbosity", "log.format", "log.file")
	}
	return nil
}

// completes suggests flags that the help shows, and commands.
func completes(flags []cli.Flag, commands []*cli.Command) cli.BashCompleteFunc {
	visible := slices.DeleteFunc(slices.Clone(flags), func(f cli.Flag) bool {
		v, ok := f.(cli.VisibleFlag)
		return ok && !v.IsVisible()
	})
	return cli.DefaultCompleteWithFlags(&cli.Command{Flags: visible, Subcommands: commands})
}
