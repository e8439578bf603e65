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

// word is a flag on a command line.
type word struct {
	at       int // its place in the command line
	name     string
	known    map[string]bool // the flags that may stand there, see flagNames
	hasValue bool            // with an equals sign
}

// unknownFlags goes through a command line, and says of each unknown flag which known one is like it.
func unknownFlags(args []string, app *cli.App) []string {
	var unknown []string
	eachFlag(args, app, func(w word) {
		if _, ok := w.known[w.name]; ok {
			return
		}
		text := "unknown flag --" + w.name
		if like := nearest(w.name, w.known); like != "" {
			text += " (is it --" + like + "?)"
		}
		unknown = append(unknown, text)
	})
	return unknown
}

// apartFromValue returns an error if a flag that may stand alone is followed by true or false: that would be taken for a command, or
// for an argument of one.
func apartFromValue(args []string, app *cli.App) (err error) {
	eachFlag(args, app, func(w word) {
		if err != nil || w.hasValue || !w.known[w.name] || w.at+1 == len(args) {
			return
		}
		if value := args[w.at+1]; value == "true" || value == "false" {
			err = fmt.Errorf("unexpected %q after --%s: write --%s=%s", value, w.name, w.name, value)
		}
	})
	return err
}

// eachFlag calls see with each flag on a command line, until arguments follow.
func eachFlag(args []string, app *cli.App, see func(word)) {
	known, commands := flagNames(app.Flags), app.Commands
	for i := 1; i < len(args) && args[i] != "--"; i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		if !isFlag || name == "" {
			at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[i]) })
			if at < 0 {
				return
			}
			if flags := commands[at].Flags; len(flags) > 0 {
				known = flagNames(flags)
			}
			commands = commands[at].Subcommands
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		see(word{i, name, known, hasValue})
		toggle, ok := known[name]
		if !ok {
			toggle = i+1 < len(args) && strings.HasPrefix(args[i+1], "-")
		}
		if !toggle && !hasValue {
			i++ // its value
		}
	}
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

// nearest is the known name that takes the fewest edits to get to, empty if that is more than half of them.
func nearest(name string, known map[string]bool) string {
	best, least := "", 0
	for candidate := range known {
		n := edits(name, candidate)
		if best == "" || n < least || n == least && candidate < best {
			best, least = candidate, n
		}
	}
	if 2*least > len(name) {
		return ""
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
