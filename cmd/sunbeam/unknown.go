// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// undefined is how the flag package's error for an unknown flag begins. It knows of the first one only.
const undefined = "flag provided but not defined"

// usageError keeps a wrong flag to one line; without it the whole help text is printed. Unknown flags are named all at
// once.
func (a *app) usageError(c *cli.Context, err error, _ bool) error {
	if !strings.HasPrefix(err.Error(), undefined) {
		return err
	}
	unknown := unknownFlags(a.args, c.App)
	if len(unknown) == 0 {
		return err
	}
	return errors.New(strings.Join(unknown, ", "))
}

// unknownFlags goes through a command line, and says of each unknown flag which known one is the most like it.
func unknownFlags(args []string, app *cli.App) []string {
	var unknown []string
	known, commands := flagNames(app.Flags), app.Commands
	for i := 1; i < len(args) && args[i] != "--"; i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		if !isFlag || name == "" {
			at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[i]) })
			if at < 0 {
				break // arguments follow
			}
			if flags := commands[at].Flags; len(flags) > 0 {
				known = flagNames(flags)
			}
			commands = commands[at].Subcommands
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		toggle, ok := known[name]
		if !ok {
			unknown = append(unknown, fmt.Sprintf("unknown flag --%s (is it --%s?)", name, nearest(name, known)))
			toggle = i+1 < len(args) && strings.HasPrefix(args[i+1], "-")
		}
		if !toggle && !hasValue {
			i++ // its value
		}
	}
	return unknown
}

// flagNames says of each flag whether it may stand without a value.
func flagNames(flags []cli.Flag) map[string]bool {
	names := map[string]bool{"help": true, "h": true, "version": true, "v": true}
	for _, f := range flags {
		takesValue := true
		if documented, ok := f.(cli.DocGenerationFlag); ok {
			takesValue = documented.TakesValue()
		}
		for _, name := range f.Names() {
			names[name] = !takesValue
		}
	}
	return names
}

// nearest is the known name that takes the fewest edits to get to.
func nearest(name string, known map[string]bool) string {
	best, least := "", 0
	for candidate := range known {
		n := edits(name, candidate)
		if best == "" || n < least || n == least && candidate < best {
			best, least = candidate, n
		}
	}
	return best
}

// edits is the Levenshtein distance of two words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
