// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// ValueError is a value that cannot be used.
type ValueError struct {
	Flag   string // without dashes
	Value  string // empty if it is a secret
	Origin string // "flag", or where else it came from
	Err    error  // what is wrong with it
	secret bool
}

// Error is one line.
func (e *ValueError) Error() string {
	value := strconv.Quote(WithoutCredentials(e.Value))
	if e.secret {
		value = "(secret)"
	}
	reason := OneLine(e.Err)
	if e.Origin == "flag" {
		return fmt.Sprintf("bad value %s for --%s: %s", value, e.Flag, reason)
	}
	return fmt.Sprintf("bad value %s for --%s (from %s): %s", value, e.Flag, e.Origin, reason)
}

// OneLine is the text of an error without line breaks. Those of errors.Join stand between errors.
func OneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if words := strings.Join(strings.Fields(line), " "); words != "" {
			lines = append(lines, words)
		}
	}
	return strings.Join(lines, "; ")
}

// Unwrap returns what is wrong.
func (e *ValueError) Unwrap() error { return e.Err }

// setting is the text of one setting and where it came from. Settings that are not lists
// use the last text.
type setting struct {
	texts  []string
	origin string
	dumped bool // one of all settings that geth's dumpconfig writes, so it may well be its default
}

// source is the settings of flags, environment or file, by flag name.
type source map[string]setting

// Load combines the settings of the command line, of the environment (lookup is
// os.LookupEnv) and of the file that --config names into a checked configuration.
// It creates nothing. Errors are one line each. The notes say which settings have another effect than they ask for.
func Load(flags *Flags, lookup func(string) (string, bool)) (*Config, []Note, error) {
	env := make(source)
	path, origin := flags.file, "flag"
	for _, prefix := range flags.prefixes() { // later ones win
		maps.Copy(env, fromEnv(prefix, lookup))
		if text, _ := lookup(prefix + "CONFIG"); text != "" && flags.file == "" {
			path, origin = text, prefix+"CONFIG in the environment"
		}
	}
	file, notes, err := fromFile(path, origin)
	if err != nil {
		return nil, nil, err
	}
	values := make(source)
	for _, src := range []source{file, env, flags.values} { // later ones win
		if err := src.foldNetworks(); err != nil {
			return nil, nil, err
		}
		for flag, g := range src {
			values[flag] = g
		}
	}
	if err := flags.ownDatadir(file, values); err != nil {
		return nil, nil, err
	}
	values.settleNetwork()
	more, err := values.translate(flags.imports)
	if err != nil {
		return nil, nil, err
	}
	notes = append(notes, more...)
	cfg := flags.defaults()
	for i := range options {
		o := &options[i]
		if g, ok := values[o.flag]; ok {
			if err := cfg.apply(o, g); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := cfg.finish(values); err != nil {
		return nil, nil, err
	}
	return cfg, append(notes, cfg.servedNamespaces()...), nil
}

// ownDatadir refuses the datadir that a file names for one network if flags or the environment choose another one: dumpconfig writes
// both.
func (f *Flags) ownDatadir(file, values source) error {
	datadir, named := file["datadir"]
	chosen := values["network"]
	if !named || values["datadir"].origin != datadir.origin || chosen.last() == "" || chosen.last() == file["network"].last() {
		return nil
	}
	of := file["network"].last()
	if of == "" && (chosen.last() == "mainnet" || datadir.last() != f.defaults().DataDir) {
		return nil // it may be anyone's
	}
	return fmt.Errorf("--network %s: %s (%s) is the datadir of %s: give --datadir as well, or leave the network out",
		chosen.last(), datadir.last(), datadir.origin, cmp.Or(of, "mainnet"))
}

// fromEnv reads the variables of all flags. An empty one counts as unset.
func fromEnv(prefix string, lookup func(string) (string, bool)) source {
	src := make(source)
	add := func(flag string) {
		name := variable(prefix, flag)
		if text, ok := lookup(name); ok && text != "" {
			src[flag] = setting{texts: []string{text}, origin: name + " in the environment"}
		}
	}
	for i := range options {
		add(options[i].flag)
	}
	for _, name := range networks {
		add(name)
	}
	for i := range gethFlags {
		add(gethFlags[i].name)
	}
	return src
}

// foldNetworks replaces --sepolia and its like by --network.
func (src source) foldNetworks() error {
	var chosen []string
	if _, ok := src["network"]; ok {
		chosen = append(chosen, "network")
	}
	for _, name := range networks {
		g, ok := src[name]
		if !ok {
			continue
		}
		delete(src, name)
		on, err := strconv.ParseBool(g.last())
		if err != nil {
			return &ValueError{Flag: name, Value: g.last(), Origin: g.origin, Err: errors.New("want true or false")}
		}
		if on {
			chosen = append(chosen, name)
			if len(chosen) == 1 {
				src["network"] = setting{texts: []string{name}, origin: g.origin}
			}
		}
	}
	if len(chosen) > 1 {
		return fmt.Errorf("--%s exclude each other: choose one network", strings.Join(chosen, " and --"))
	}
	return nil
}

// settleNetwork leaves out the network that the ID in geth's file means if a genesis file is named as well.
func (src source) settleNetwork() {
	if _, own := src["override.genesis"]; own && src["network"].dumped {
		delete(src, "network")
	}
}

// last is the text that counts, empty if there is none.
func (g setting) last() string {
	if len(g.texts) == 0 {
		return ""
	}
	return g.texts[len(g.texts)-1]
}

// list splits at commas; what remains empty is left out. Quotes around an element, as attach --exec prints an enode URL, are
// no part of it.
func (g setting) list() []string {
	list := []string{}
	for _, text := range g.texts {
		for _, element := range strings.Split(text, ",") {
			if element = unquoted(strings.TrimSpace(element)); element != "" {
				list = append(list, element)
			}
		}
	}
	return list
}

// unquoted is a text without double quotes around it.
func unquoted(text string) string {
	if inner, ok := strings.CutPrefix(text, `"`); ok {
		if inner, ok = strings.CutSuffix(inner, `"`); ok {
			return inner
		}
	}
	return text
}

// apply checks a value and puts it into the option's field.
func (c *Config) apply(o *option, g setting) error {
	field := c.field(o)
	if field.Kind() == reflect.Slice {
		list := g.list()
		if text := strings.TrimSpace(strings.Join(g.texts, "")); len(list) == 0 && text != "" && text != `""` {
			return &ValueError{Flag: o.flag, Value: text, Origin: g.origin, Err: errors.New("there is nothing between the commas"), secret: o.secret}
		}
		for _, element := range list {
			if err := o.verify(element, g.origin); err != nil {
				return err
			}
		}
		field.Set(reflect.ValueOf(list))
		return nil
	}
	text := g.last()
	if o.flag == "datadir" {
		text = expandHome(text)
	}
	if err := setScalar(field, text); err != nil {
		return &ValueError{Flag: o.flag, Value: g.last(), Origin: g.origin, Err: err, secret: o.secret}
	}
	if text == "" && Default().field(o).IsZero() {
		return nil // the same as not given
	}
	return o.verify(text, g.origin)
}

// verify runs the option's check on one value.
func (o *option) verify(text, origin string) error {
	if o.check == nil {
		return nil
	}
	if err := o.check(text); err != nil {
		return &ValueError{Flag: o.flag, Value: text, Origin: origin, Err: err, secret: o.secret}
	}
	return nil
}

// field finds the option's field. The table is complete and right: a test walks it.
func (c *Config) field(o *option) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for _, name := range strings.Split(o.key, ".") {
		v = v.FieldByName(name)
	}
	return v
}

func setScalar(field reflect.Value, text string) error {
	switch field.Kind() { //nolint:exhaustive // a test walks all fields
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		field.SetBool(b)
	case reflect.Uint16, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, field.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a number from 0 to %d", ^uint64(0)>>(64-field.Type().Bits()))
		}
		field.SetUint(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("want a number")
		}
		field.SetFloat(n)
	default: // int and time.Duration
		if field.Type() == reflect.TypeFor[time.Duration]() {
			d, err := time.ParseDuration(text)
			if err != nil || d < 0 {
				return errors.New("want a duration such as 5s or 300ms")
			}
			field.SetInt(int64(d))
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("want a number")
		}
		field.SetInt(int64(n))
	}
	return nil
}

func expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
