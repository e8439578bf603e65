// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

// helpFlag is a line of geth's help: names, whether a value follows, and the default.
var helpFlag = regexp.MustCompile(`(?m)^ {4}--([A-Za-z0-9.-]+)(?: value)?(?:, --?([A-Za-z0-9.]+))?(?: value)?(?: +\(default: "?([^")]*)"?\))?`)

// flagInHelp is a flag as geth's help shows it.
type flagInHelp struct {
	name, alias, usual string
	toggle             bool
}

// runGeth returns what a command of geth prints.
func runGeth(t *testing.T, args ...string) string {
	t.Helper()
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// flagsOfGeth asks the geth binary for the flags of the node, or of one of its commands.
func flagsOfGeth(t *testing.T, command ...string) []flagInHelp {
	t.Helper()
	var flags []flagInHelp
	for _, m := range helpFlag.FindAllStringSubmatch(runGeth(t, command...), -1) {
		if m[1] == "help" || m[1] == "version" || m[1] == "cache.gc" && m[3] == "" { // the last is a word of another one's text
			continue
		}
		flags = append(flags, flagInHelp{name: m[1], alias: m[2], toggle: !strings.Contains(m[0], " value"), usual: m[3]})
	}
	return flags
}

// Each flag of geth, of the node and of the commands that this node has too, is an option here or in the table of what
// happens instead, is read in the same form, and has the default that the table says.
func TestFlagsOfGeth(t *testing.T) {
	flags := flagsOfGeth(t, "--help")
	if len(flags) < 180 {
		t.Fatalf("geth has %d flags only", len(flags))
	}
	for _, command := range []string{"init", "import", "export", "dumpgenesis", "dumpconfig", "show-deprecated-flags"} {
		args := []string{command, "--help"}
		if command == "show-deprecated-flags" {
			args = args[:1]
		}
		flags = append(flags, flagsOfGeth(t, args...)...)
	}
	ours := make(map[string]*cliFlag)
	for _, f := range NewFlags(false).CLI() {
		ours[f.Names()[0]] = f.(*cliFlag)
	}
	inGeth := make(map[string]bool)
	for _, f := range flags {
		inGeth[f.name] = true
		known := ours[f.name]
		if known == nil {
			t.Errorf("--%s of geth is unknown", f.name)
			continue
		}
		if known.toggle != f.toggle || known.alias != f.alias {
			t.Errorf("--%s: toggle %v, second name %q; geth: %v, %q", f.name, known.toggle, known.alias, f.toggle, f.alias)
		}
		g := findGethFlag(f.name)
		if g == nil || g.toggle && f.usual != "true" && g.usual == "" {
			continue
		}
		if f.usual == "." { // its sentence ends there
			f.usual = g.usual
		}
		if g.usual != f.usual {
			t.Errorf("--%s: usual value %q, default of geth %q", f.name, g.usual, f.usual)
		}
	}
	for i := range gethFlags {
		if f := &gethFlags[i]; inGeth[f.name] == f.former {
			t.Errorf("--%s: of earlier versions: %v, geth has it: %v", f.name, f.former, inGeth[f.name])
		}
	}
}

// The table names no flag twice, none that is an option, and says something about each.
func TestTableOfGethFlags(t *testing.T) {
	seen := make(map[string]bool)
	for i := range options {
		seen[options[i].flag] = true
	}
	for i := range gethFlags {
		f := &gethFlags[i]
		if seen[f.name] {
			t.Errorf("--%s: twice, or an option as well", f.name)
		}
		seen[f.name] = true
		if f.instead == "" && f.refused == "" || f.becomes != nil && f.instead == "" || f.instead != "" && f.refused != "" && f.only == "" {
			t.Errorf("--%s: nothing is said about it, or two things", f.name)
		}
		if f.usual != "" && f.check != nil {
			if err := f.check(f.usual); err != nil {
				t.Errorf("--%s: %v", f.name, err)
			}
		}
	}
}

func TestFlagsOfGethHaveNotes(t *testing.T) {
	cfg, notes, err := parseNotes(t, []string{"SUNBEAM_GCMODE=full"}, "--datadir", t.TempDir(), "--syncmode=snap", "--state.scheme", "path", "--snapshot=false",
		"--cache.trie", "20", "--allow-insecure-unlock", "--ethstats", "name:secret@host", "--http", "--http.api", "eth,engine,net,personal", "--discv4=false", "--dev=false",
		"--history.chain", "recent", "--history.blocks", "1056768", "--rpc.telemetry.endpoint", "http://user:secret@host:4318")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, note := range notes {
		got = append(got, note.Flag+"="+note.Value)
		if note.Instead == "" {
			t.Errorf("%s: nothing is said", note.Flag)
		}
	}
	slices.Sort(got)
	want := []string{"allow-insecure-unlock=true", "cache.trie=20", "ethstats=", "gcmode=full", "http.api=engine,personal", "rpc.telemetry.endpoint=http://(hidden)@host:4318", "snapshot=false", "state.scheme=path", "syncmode=snap"}
	if !slices.Equal(got, want) {
		t.Errorf("notes %v, want %v", got, want)
	}
	if cfg.History.Chain != "1056768" {
		t.Errorf("history %s", cfg.History.Chain)
	}
	if !slices.Equal(cfg.HTTP.API, []string{"eth", "net"}) || cfg.P2P.DiscoveryV4 || !cfg.P2P.DiscoveryV5 {
		t.Errorf("namespaces %v, discovery v4 %v, v5 %v", cfg.HTTP.API, cfg.P2P.DiscoveryV4, cfg.P2P.DiscoveryV5)
	}
}

func TestRefusedFlagsOfGeth(t *testing.T) {
	_, err := parse(t, nil, "--datadir", t.TempDir(), "--gcmode=archive", "--graphql", "--dev", "--syncmode=full")
	for _, part := range []string{"--gcmode archive: ", "--graphql: ", "--dev: "} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
	for _, bad := range [][2]string{{"syncmode", "light"}, {"gcmode", "none"}, {"cache.trie", "much"}, {"snapshot", "perhaps"}, {"history.state", "1.5"}} {
		_, err := parse(t, nil, "--datadir", t.TempDir(), "--"+bad[0]+"="+bad[1])
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("bad value %q for --%s", bad[1], bad[0])) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// Profiles never get an address that others can reach, unless the flags name one for them.
func TestProfilesOfGeth(t *testing.T) {
	tests := []struct {
		args   []string
		addr   string
		port   uint16
		served bool
	}{
		{[]string{"--pprof"}, "127.0.0.1", 6060, true},
		{[]string{"--pprof=false"}, "127.0.0.1", 6060, false},
		{[]string{"--pprof", "--pprof.addr", "10.0.0.1", "--pprof.port", "1234"}, "10.0.0.1", 1234, true},
		{[]string{"--metrics", "--metrics.port", "9", "--pprof"}, "127.0.0.1", 6060, true},
		{[]string{"--metrics", "--metrics.addr", "0.0.0.0", "--metrics.port", "9001", "--pprof"}, "0.0.0.0", 9001, false},
		{[]string{"--metrics", "--metrics.addr", "0.0.0.0", "--pprof", "--pprof.addr", "0.0.0.0"}, "0.0.0.0", 6060, true},
		{[]string{"--metrics", "--metrics.addr", "127.0.0.1", "--metrics.port", "9001", "--pprof"}, "127.0.0.1", 9001, true},
	}
	for _, test := range tests {
		cfg, err := parse(t, nil, append(test.args, "--datadir", t.TempDir())...)
		if err != nil {
			t.Errorf("%v: %v", test.args, err)
			continue
		}
		if m := cfg.Metrics; m.Addr != test.addr || m.Port != test.port || m.Pprof != test.served {
			t.Errorf("%v: %+v, want %s:%d, profiles: %v", test.args, m, test.addr, test.port, test.served)
		}
	}
}

// page is the documentation that the tables make.
const page = "../docs/geth-flags.md"

// UPDATE_DOCS=1 writes the page.
func TestPageOfGethFlags(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# Flags of geth\n\nWhat becomes of each flag of geth v1.17.10. `UPDATE_DOCS=1 go test ./config -run Page` makes this page from the table in\n" +
		"[config/geth_flags.go](../config/geth_flags.go).\n\n" +
		"* **works**: as in geth; where the default is another, `sunbeam --help` says so.\n" +
		"* **no effect**: taken, and a WARN says what happens instead.\n" +
		"* **becomes**: another flag, which does the same.\n" +
		"* **refused**: the node does not start, and says why. All refused flags are named at once, and all unknown ones, each with the known one that is most like it.\n\n" +
		"A binary that is called `geth`, as a copy or by a link, also reads `GETH_*` environment variables (`SUNBEAM_*` win), and has geth's default datadir\n" +
		"(`~/.ethereum`) and socket (`geth.ipc`). `--config` takes files of geth's `dumpconfig` under any name; in them a key with geth's default counts as not set.\n\n" +
		"| flag | | |\n|---|---|---|\n")
	flags := flagsOfGeth(t, "--help")
	slices.SortFunc(flags, func(a, b flagInHelp) int { return strings.Compare(a.name, b.name) })
	for _, f := range flags {
		fate, says := "works", ""
		if g := findGethFlag(f.name); g != nil {
			fate, says = g.fate()
		}
		fmt.Fprintf(&out, "| `--%s` | %s | %s |\n", f.name, fate, strings.ReplaceAll(says, "<", "&lt;"))
	}
	out.WriteString("\n## Flags that geth does not have any more, and those of its commands\n\nLaunchers still use some.\n\n| flag | | |\n|---|---|---|\n")
	for i := range gethFlags {
		if f := &gethFlags[i]; f.former || f.command {
			fate, says := f.fate()
			fmt.Fprintf(&out, "| `--%s` | %s | %s |\n", f.name, fate, strings.ReplaceAll(says, "<", "&lt;"))
		}
	}
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(page, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !bytes.Equal(text, out.Bytes()) {
		t.Errorf("%s is not what the table says (%v): UPDATE_DOCS=1 go test ./config -run Page", page, err)
	}
}

// fate says what becomes of a flag.
func (f *gethFlag) fate() (fate, says string) {
	switch {
	case f.only != "":
		return "no effect, or refused", f.instead + ". `" + f.only + "` is refused: " + f.refused
	case f.refused != "":
		return "refused", f.refused
	case f.becomes != nil:
		return "becomes", f.instead
	}
	return "no effect", f.instead
}
