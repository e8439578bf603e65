// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sunbeam-eth/sunbeam/internal/node"
)

// commands are those of the node, and those of geth that it does not have, which say why.
func (a *app) commands() []*cli.Command {
	command := func(name, usage, args string, action cli.ActionFunc, more ...cli.Flag) *cli.Command {
		flags, description := append(a.flags.CLI(), more...), ""
		if shown := shownFlags(name); shown != nil {
			flags, description = append(a.flags.Only(shown...), more...), otherFlags
		}
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args, Action: action, Flags: flags, Description: description,
			OnUsageError: a.usageError, HideHelpCommand: true, BashComplete: completes(flags, nil),
		}
	}
	plain := func(name, usage string, print func(*cli.Context) (string, error)) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, OnUsageError: a.usageError, HideHelpCommand: true, Action: func(c *cli.Context) error {
			text, err := print(c)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.stdout, text)
			return err
		}}
	}
	commands := []*cli.Command{
		command("run", "Run the node (the default)", " ", a.run),
		command("status", "Say whether a running node is ready; exit code 1 if it is not", "[ENDPOINT]", a.status),
		command("top", "Show in the terminal what a running node does, as the status page does", "[ENDPOINT]", a.top,
			&cli.BoolFlag{Name: "once", Usage: "Print one frame without styles, as without a terminal, and end"}),
		command("attach", "Open a JavaScript console on a running node, or execute --exec there", "[ENDPOINT]", a.attach),
		command("init", "Make the datadir that of the network in a genesis JSON file", "GENESIS", a.init),
		command("import", "Execute blocks from RLP files (.gz too) on the stored state", "FILE...", a.importBlocks),
		command("export", "Write blocks to an RLP file (.gz too)", "FILE [FIRST LAST]", a.export),
		command("import-history", "Store old blocks and receipts from the era1 or ere archives in a directory", "DIR", a.importHistory, eraFormat()),
		command("export-history", "Write blocks and receipts as era1 or ere archives into a directory", "DIR FIRST LAST", a.exportHistory, eraFormat()),
		command("dumpgenesis", "Print the genesis JSON of the network", " ", a.dumpGenesis),
		command("dumpconfig", "Print the configuration as TOML, as --config reads it, or write it to a file", "[FILE]", a.dumpConfig),
		command("removedb", "Remove the databases, after a question; keys and the genesis stay", " ", a.removeDatabase,
			&cli.BoolFlag{Name: "remove.state", Usage: "The answer to the question, with --remove.chain"},
			&cli.BoolFlag{Name: "remove.chain", Usage: "The answer to the question, with --remove.state"}),
		command("prune-history", "Delete the bodies and receipts of blocks that are older than --history.chain says", " ", a.pruneHistory),
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
		plain("version", "Print the version", func(c *cli.Context) (string, error) { return node.VersionText(), arguments(c, 0, 0) }),
		plain("license", "Print the licence", func(c *cli.Context) (string, error) { return licence, arguments(c, 0, 0) }),
		plain("completion", "Print a script that completes commands and flags in bash, zsh or fish", completion),
		plain("man", "Print the manual page", func(c *cli.Context) (string, error) { return manual(c.App) }),
	}
	for name, reason := range refusedCommands {
		commands = append(commands, &cli.Command{
			Name: name, Usage: reason, Hidden: true, SkipFlagParsing: true, HideHelp: true,
			Action: func(*cli.Context) error {
				return fmt.Errorf("%s is a command of geth that is not here: %s", name, reason)
			},
		})
	}
	return commands
}

// refusedCommands are those of geth v1.17.10 that the node does not have, with the reasons.
var refusedCommands = map[string]string{ //nolint:gochecknoglobals // never written
	"account":               "the node has no accounts: use clef, or geth account",
	"wallet":                "the node has no accounts: use clef, or geth wallet",
	"bintrie":               "there is no binary trie",
	"console":               "start the node, and then attach",
	"js":                    "start the node, and then attach with --preload or --exec",
	"download-era":          "archives are not downloaded: fetch them with another program, and then import-history",
	"import-preimages":      "accounts and slots are stored by the hashes of their keys only",
	"dump":                  "accounts and slots are stored by the hashes of their keys only",
	"snapshot":              "the state is stored in one form, and old states are removed as blocks are executed: there is nothing to prune",
	"show-deprecated-flags": "docs/geth-flags.md has all flags",
}

// licence is what NOTICE begins with.
const licence = `Sunbeam
Copyright 2026 The Sunbeam Authors

Sunbeam is free software: you can redistribute it and/or modify it under the terms of the
GNU Lesser General Public License as published by the Free Software Foundation, either
version 3 of the License, or (at your option) any later version. It comes without any
warranty. You should have received a copy of the License with it; if not, see
<https://www.gnu.org/licenses/>.
`

// manual is the page for man(1), with the flags once instead of for each command.
func manual(app *cli.App) (string, error) {
	page := *app
	page.Commands = nil
	for _, c := range app.Commands {
		if !c.Hidden {
			page.Commands = append(page.Commands, &cli.Command{Name: c.Name, Usage: c.Usage, ArgsUsage: c.ArgsUsage, HideHelp: true})
		}
	}
	page.Flags = nil
	for _, f := range app.Flags {
		if visible, ok := f.(cli.VisibleFlag); !ok || visible.IsVisible() {
			page.Flags = append(page.Flags, f)
		}
	}
	return page.ToMan()
}

// completion asks the program itself: cli answers with what fits.
func completion(c *cli.Context) (string, error) {
	if err := arguments(c, 0, 1); err != nil {
		return "", err
	}
	name := c.App.Name
	switch c.Args().First() {
	case "bash":
		return fmt.Sprintf(bashCompletion, name), nil
	case "zsh":
		return "autoload -U +X bashcompinit && bashcompinit\n" + fmt.Sprintf(bashCompletion, name), nil
	case "fish":
		return fmt.Sprintf(fishCompletion, name), nil
	}
	return "", errors.New("completion needs the name of a shell: bash, zsh or fish")
}

const (
	bashCompletion = `_%[1]s_complete() {
    local word="${COMP_WORDS[COMP_CWORD]}" words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    [[ "$word" == -* ]] && words+=("$word")
    COMPREPLY=($(compgen -W "$(%[1]s "${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F _%[1]s_complete %[1]s
`
	fishCompletion = `function __%[1]s_complete
    set -l words (commandline -opc) (string match -- '-*' (commandline -ct))
    %[1]s $words[2..-1] --generate-bash-completion 2>/dev/null
end
complete -c %[1]s -a '(__%[1]s_complete)'
`
)
