// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"cmp"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Flags collects the settings of the command line, before and after a subcommand. It parses nothing: [Load] does.
type Flags struct {
	file    string
	values  source
	asGeth  bool
	imports bool // see ForImport
}

// NewFlags returns an empty collection. A program that is called geth also reads geth's environment variables, and has
// geth's data directory and socket by default.
func NewFlags(asGeth bool) *Flags { return &Flags{values: make(source), asGeth: asGeth} }

// ForImport says that blocks are imported from files. geth's scripts do that as an archive node, to keep all states; here the
// newest ones are kept, and that is no reason to refuse it.
func (f *Flags) ForImport() { f.imports = true }

// Console is what geth's flags for its console say.
type Console struct {
	Exec    string   // one statement
	JSPath  string   // where scripts are
	Preload []string // scripts
	Headers []string // "key: value", of requests over HTTP and WebSocket
}

// Console takes the flags of the console out of the settings: no other command has a use for them.
func (f *Flags) Console() Console {
	take := func(flag string) setting {
		g := f.values[flag]
		delete(f.values, flag)
		return g
	}
	return Console{
		Exec: take("exec").last(), JSPath: cmp.Or(take("jspath").last(), "."), Preload: take("preload").list(),
		Headers: append(take("header").texts, take("H").texts...),
	}
}

// Given says whether a setting is on the command line or in the environment.
func (f *Flags) Given(flag string, lookup func(string) (string, bool)) bool {
	_, given := f.values[flag]
	for _, prefix := range f.prefixes() {
		text, _ := lookup(variable(prefix, flag))
		given = given || text != ""
	}
	return given
}

// prefixes are those of the environment variables to read.
func (f *Flags) prefixes() []string {
	if f.asGeth {
		return []string{gethPrefix, ownPrefix}
	}
	return []string{ownPrefix}
}

// UnknownVariables names the variables in an environment (os.Environ) that look like settings and are none.
func (f *Flags) UnknownVariables(environ []string) (names []string) {
	known := make(map[string]bool)
	for _, prefix := range f.prefixes() {
		known[prefix+"CONFIG"] = true
		known[prefix+"ARGS"] = true // of the systemd unit, which makes flags of it
		for i := range options {
			known[variable(prefix, options[i].flag)] = true
		}
		for i := range gethFlags {
			known[variable(prefix, gethFlags[i].name)] = true
		}
		for _, name := range networks {
			known[variable(prefix, name)] = true
		}
	}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !known[name] && slices.ContainsFunc(f.prefixes(), func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// defaults are the settings without any configuration.
func (f *Flags) defaults() *Config {
	c := Default()
	if f.asGeth {
		c.DataDir, c.IPC.Path = defaultDataDir("ethereum"), "geth.ipc"
	}
	return c
}

// CLI returns the flags for an app or one of its commands. Their values are
// recorded in f.
func (f *Flags) CLI() []cli.Flag {
	list := []cli.Flag{&cliFlag{
		name: "config", usage: "TOML configuration file", category: catNode,
		set: func(text string) { f.file = text },
	}}
	record := func(name string) func(string) {
		return func(text string) {
			g := f.values[name]
			f.values[name] = setting{texts: append(g.texts, text), origin: "flag"}
		}
	}
	defaults := f.defaults()
	for i := range options {
		o := &options[i]
		field := defaults.field(o)
		list = append(list, &cliFlag{
			name: o.flag, alias: o.alias, usage: o.usage, category: o.category, env: o.env(), set: record(o.flag),
			toggle:   field.Kind() == reflect.Bool,
			fallback: defaultText(field),
		})
		if o.flag == "network" {
			for _, name := range networks {
				list = append(list, &cliFlag{
					name: name, usage: "The same as --network " + name, category: o.category,
					env: (&option{flag: name}).env(), set: record(name), toggle: true,
				})
			}
		}
	}
	for i := range gethFlags {
		g := &gethFlags[i]
		list = append(list, &cliFlag{name: g.name, alias: g.alias, usage: g.instead + g.refused, set: record(g.name), toggle: g.toggle, hidden: true})
	}
	return list
}

// consoleUsage describes geth's flags of the console, which the node refuses.
var consoleUsage = map[string]string{ //nolint:gochecknoglobals // never written
	"exec":    "Execute this JavaScript statement, and end",
	"jspath":  "Directory of scripts (default: the working directory)",
	"preload": "JavaScript files to load first, separated by commas",
	"header":  `HTTP header of requests, as "key:value". Can be given several times`,
}

// Only returns all flags, of which the help and the completion show those named. A command reads the others as well: a script
// may give all commands the same ones.
func (f *Flags) Only(names ...string) []cli.Flag {
	list := f.CLI()
	for _, item := range list {
		one, ok := item.(*cliFlag)
		if !ok {
			continue
		}
		one.hidden = !slices.Contains(names, one.name)
		if usage := consoleUsage[one.name]; usage != "" && !one.hidden {
			one.usage, one.category = usage, "CONSOLE"
		}
	}
	return list
}

func defaultText(field reflect.Value) string {
	if field.IsZero() {
		return ""
	}
	if list, ok := field.Interface().([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(field.Interface())
}

// cliFlag is one flag for urfave/cli; it hands the text on and never fails.
type cliFlag struct {
	name, alias, usage, category, env, fallback string
	toggle                                      bool // may stand without a value
	hidden                                      bool // not in the help
	set                                         func(string)
	isSet                                       bool
}

// Set records a value (flag.Value).
func (f *cliFlag) Set(text string) error {
	f.isSet = true
	f.set(text)
	return nil
}

// String is what the help shows (cli.Flag), and must be empty for flag.Value's zero.
func (f *cliFlag) String() string {
	if f == nil || f.name == "" {
		return ""
	}
	return cli.FlagStringer(f)
}

// IsBoolFlag lets a toggle stand alone (flag package).
func (f *cliFlag) IsBoolFlag() bool { return f.toggle }

// Apply registers the flag.
func (f *cliFlag) Apply(set *flag.FlagSet) error {
	for _, name := range f.Names() {
		set.Var(f, name, f.usage)
	}
	return nil
}

// The rest describes the flag to the help text.

func (f *cliFlag) Names() []string {
	if f.alias == "" {
		return []string{f.name}
	}
	return []string{f.name, f.alias}
}
func (f *cliFlag) IsSet() bool            { return f.isSet }
func (f *cliFlag) IsVisible() bool        { return !f.hidden }
func (f *cliFlag) TakesValue() bool       { return !f.toggle }
func (f *cliFlag) GetUsage() string       { return f.usage }
func (f *cliFlag) GetValue() string       { return f.fallback }
func (f *cliFlag) GetDefaultText() string { return f.fallback }
func (f *cliFlag) GetCategory() string    { return f.category }
func (f *cliFlag) GetEnvVars() []string {
	if f.env == "" {
		return nil
	}
	return []string{f.env}
}
