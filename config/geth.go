// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gethFlag is a flag of geth that is no option here. It is read like one, and does one of three things: it becomes
// options, it is refused, or it has no effect and a note says what happens instead.
type gethFlag struct {
	name   string
	alias  string
	toggle bool               // may stand without a value
	usual  string             // value that asks for nothing: geth's default. Empty: none, and "false" for a toggle
	check  func(string) error // nil: any text
	secret bool               // the value is never shown

	instead string                               // what happens instead, or, of what becomes options, which ones
	refused string                               // why it cannot be had, and what to do
	only    string                               // the one value that is refused; empty: all but the usual one
	becomes func(src source, value string) *Note // adds options to src, and may return what to note
	former  bool                                 // of earlier versions of geth: v1.17.10 does not have it
	command bool                                 // of one of geth's commands only
}

// Note is a setting that is taken, but not as it was meant.
type Note struct {
	Flag    string // without dashes
	Value   string // empty if it is a secret
	Instead string // what happens instead
}

// findGethFlag returns geth's flag of a name or alias.
func findGethFlag(name string) *gethFlag {
	for i := range gethFlags {
		if f := &gethFlags[i]; f.name == name || f.alias != "" && f.alias == name {
			return f
		}
	}
	return nil
}

// asksForNothing says whether a value is the usual one.
func (f *gethFlag) asksForNothing(value string) bool {
	if f.toggle {
		on, err := strconv.ParseBool(value)
		return err == nil && on == (f.usual == "true")
	}
	return value == f.usual
}

// refuses says whether a value is refused.
func (f *gethFlag) refuses(value string) bool {
	return f.refused != "" && (value == f.only || f.only == "" && !f.asksForNothing(value))
}

// translate takes the flags of geth out of src: what they become is added where nothing else has set it. It returns
// what has another effect than it has in geth. Flags that are refused are named in one error; an import is less strict.
func (src source) translate(imports bool) ([]Note, error) {
	var notes []Note
	var refused []string
	for i := range gethFlags {
		f := &gethFlags[i]
		g, given := src[f.name]
		if !given {
			continue
		}
		value := g.last()
		if err := f.verify(value); err != nil {
			return nil, &ValueError{Flag: f.name, Value: value, Origin: g.origin, Err: err, secret: f.secret}
		}
		switch {
		case f.refuses(value) && !(imports && f.only != ""):
			refused = append(refused, f.shown(value)+": "+f.refused)
		case f.becomes != nil:
			if note := f.becomes(src, value); note != nil {
				notes = append(notes, *note)
			}
		case f.instead != "" && !(g.dumped && f.asksForNothing(value)):
			if f.secret {
				value = ""
			}
			notes = append(notes, Note{Flag: f.name, Value: WithoutCredentials(value), Instead: f.instead})
		}
	}
	for i := range gethFlags {
		delete(src, gethFlags[i].name)
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("refused: %s", strings.Join(refused, "; "))
	}
	return notes, nil
}

// offer sets a flag that nothing else has set.
func (src source) offer(flag, value, origin string) {
	if _, chosen := src[flag]; !chosen {
		src[flag] = setting{texts: []string{value}, origin: origin}
	}
}

// newestBlocks is how later versions of geth name a range counted from the head: --history.chain recent --history.blocks N.
func newestBlocks(src source, value string) *Note {
	if src["history.chain"].last() == "recent" {
		src["history.chain"] = setting{texts: []string{value}, origin: "--history.blocks"}
	}
	return nil
}

// profiles has the metrics server serve Go's profiles for --pprof. geth has a server for them, on localhost unless told
// otherwise, and serves metrics there too if these have no address of their own.
func profiles(src source, value string) *Note {
	if on, err := strconv.ParseBool(value); err != nil || !on {
		return nil
	}
	const origin = "--pprof"
	text := func(flag, fallback string) string {
		if g, ok := src[flag]; ok {
			return g.last()
		}
		return fallback
	}
	addr, port := text("pprof.addr", "127.0.0.1"), text("pprof.port", "6060")
	metrics, err := strconv.ParseBool(text("metrics", "false"))
	own := err == nil && metrics && text("metrics.addr", "") != ""
	if !own {
		delete(src, "metrics")
		delete(src, "metrics.addr")
		delete(src, "metrics.port")
	}
	src.offer("metrics", "true", origin)
	src.offer("metrics.addr", addr, "--pprof.addr")
	src.offer("metrics.port", port, "--pprof.port")
	at := net.JoinHostPort(src["metrics.addr"].last(), text("metrics.port", "6060"))
	switch there := src["metrics.addr"].last(); {
	case there != addr && !loopback(there):
		return &Note{Flag: "pprof", Instead: "profiles are not served: --metrics.pprof serves them at " + at + ", which others may reach"}
	default:
		src.offer("metrics.pprof", "true", origin)
		return &Note{Flag: "pprof", Instead: "profiles are at http://" + at + "/debug/pprof/, metrics too"}
	}
}

// loopback says whether only the machine itself reaches an address.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// shown is the flag with its value.
func (f *gethFlag) shown(value string) string {
	if f.toggle || f.secret || value == "" {
		return "--" + f.name
	}
	return "--" + f.name + " " + value
}

func (f *gethFlag) verify(value string) error {
	if f.toggle {
		if _, err := strconv.ParseBool(value); err != nil {
			return errors.New("want true or false")
		}
		return nil
	}
	if f.check == nil || value == "" {
		return nil
	}
	return f.check(value)
}

// servedNamespaces leaves out the namespaces that the node does not have, and notes them: geth, too, starts without them.
func (c *Config) servedNamespaces() []Note {
	var notes []Note
	for _, list := range []struct {
		flag string
		api  *[]string
	}{{"http.api", &c.HTTP.API}, {"ws.api", &c.WS.API}} {
		var unknown, known []string
		for _, name := range *list.api {
			if slices.Contains(namespaces, name) {
				known = append(known, name)
			} else {
				unknown = append(unknown, name)
			}
		}
		if len(unknown) == 0 {
			continue
		}
		*list.api = known
		instead := "not served: there are " + strings.Join(namespaces, ", ")
		if slices.Contains(unknown, "engine") {
			instead += "; engine is at --authrpc.port"
		}
		notes = append(notes, Note{Flag: list.flag, Value: strings.Join(unknown, ","), Instead: instead})
	}
	return notes
}

// Checks of values that have no effect: a typing error is one all the same.

func wholeNumber(s string) error {
	if _, err := strconv.ParseInt(s, 10, 64); err != nil {
		return errors.New("want a number")
	}
	return nil
}

func anyNumber(s string) error {
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return errors.New("want a number")
	}
	return nil
}

func anyDuration(s string) error {
	if _, err := time.ParseDuration(s); err != nil {
		return errors.New("want a duration such as 5s or 300ms")
	}
	return nil
}
