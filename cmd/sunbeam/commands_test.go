// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/diskspace"
	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
)

// The commands that need a running node, and those that need one that does not run.
func TestCommandsOnADatadir(t *testing.T) {
	dir, genesis := filepath.Join(t.TempDir(), "d"), genesisFile(t)
	ok := func(want string, args ...string) string {
		t.Helper()
		stdout, stderr, code := sunbeam(t, append([]string{"--datadir", dir}, args...)...)
		if code != 0 || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%v: exit %d, stdout %q, stderr %q, want %q", args, code, stdout, stderr, want)
		}
		return stdout
	}
	fails := func(want string, args ...string) {
		t.Helper()
		stdout, stderr, code := sunbeam(t, append([]string{"--datadir", dir}, args...)...)
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d, stdout %q, stderr %q, want %q", args, code, stdout, stderr, want)
		}
	}
	fails("no node runs on "+dir, "status")
	fails("no node runs on "+dir, "top")
	fails("no node runs on "+dir, "attach", "--exec", "1")
	ok("has no database", "removedb")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a datadir was made")
	}
	ok("genesis", "init", genesis)
	n := run(t, "--datadir", dir, "--http", "--http.port", "0")
	for _, endpoint := range [][]string{nil, {"http://" + n.addr("http")}, {filepath.Join(dir, "sunbeam.ipc")}} {
		ok("4242", append([]string{"attach", "--exec", "parseInt(eth.chainId())"}, endpoint...)...)
		stdout, stderr, code := sunbeam(t, append([]string{"--datadir", dir, "status"}, endpoint...)...)
		if ready := strings.HasSuffix(stdout, "ready\n") && code == 0; !ready && (code != 1 || !strings.Contains(stderr, "not ready: ")) || !strings.Contains(stdout, "block 0, 0 peers") {
			t.Errorf("status at %v: exit %d, %q, %q", endpoint, code, stdout, stderr)
		}
	}
	ok("0\ntrue\n", "attach", "--exec", "console.log(beam.status.head); beam.overview.phase == beam.status.phase")
	ok(`"SYNCING"`, "attach", "--exec", "beam.setHead('0x"+strings.Repeat("ab", 32)+"')")
	for _, wrong := range []string{"nosuch.thing()", "eth.getBalance('z')", "1 +", "beam.setHead('0x1')"} {
		if stdout, stderr, code := sunbeam(t, "--datadir", dir, "attach", "--exec", wrong); code != 1 || !strings.Contains(stdout, "Error") || !strings.Contains(stderr, "--exec") {
			t.Errorf("attach --exec %q: exit %d, %q, %q", wrong, code, stdout, stderr)
		}
	}
	if frame := ok(" full  head 0\n", "top", "--once"); strings.Contains(frame, "\x1b") || !strings.Contains(frame, "\n0 peers\n") {
		t.Errorf("top: %q", frame)
	}
	fails("--http.api", "top", "http://"+n.addr("http"))
	fails("no node answers at ws://127.0.0.1:1", "top", "ws://127.0.0.1:1")
	fails("does not answer", "status", "http://127.0.0.1:1")
	fails("want key:value", "attach", "--header", "x", "http://"+n.addr("http"))
	fails("in use", "removedb", "--remove.state", "--remove.chain")
	n.stop(t, syscall.SIGTERM)

	ok("0x10", "dumpgenesis") // the chain ID
	blocks := filepath.Join(t.TempDir(), "blocks.rlp.gz")
	ok("Exported blocks", "export", blocks)
	ok("skipped=1", "--log.format", "logfmt", "import", blocks)
	fails("the head is block 0", "export", blocks, "0", "7")
	fails("in this order", "export", blocks, "3")
	fails(`"x"`, "export", blocks, "x", "y")

	fails("needs --history.chain", "prune-history")
	fails("the newest 90000 blocks stay", "prune-history", "--history.chain", "10")
	fails("the head, block 0, is not far enough past block 1: 90001 more", "prune-history", "--history.chain", "1:0x"+strings.Repeat("ab", 32))

	if asked := ok("Nothing is removed", "removedb"); !strings.Contains(asked, "These stay:\n  "+filepath.Join(dir, "geth", "nodekey")) { // without an answer
		t.Errorf("%s", asked)
	}
	check(t, os.WriteFile(filepath.Join(dir, "geth", "transactions.rlp"), nil, 0o600))
	fails("give both", "removedb", "--remove.state")
	ok("", "removedb", "--remove.state", "--remove.chain")
	for name, stays := range map[string]bool{"chaindata": false, "beam-hot": false, "lastknown.json": false, "speculation.cache": false, "triedb": false, "blobpool": false, "transactions.rlp": false, "genesis.json": true, "nodekey": true, "jwtsecret": true} {
		if _, err := os.Stat(filepath.Join(dir, "geth", name)); (err == nil) != stays {
			t.Errorf("after removedb: %s: %v", name, err)
		}
	}
	ok("has no database", "removedb")
	run(t, "--datadir", dir).stop(t, syscall.SIGTERM) // on the same network, from the beginning
}

// A node whose disk is nearly full serves its head, and yet /ready is 503: status says so, by whatever endpoint.
func TestStatusAsReady(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, stderr, code := sunbeam(t, "init", "--datadir", dir, genesisFile(t)); code != 0 {
		t.Fatal(stderr)
	}
	free, err := diskspace.Free(dir)
	check(t, err)
	n := run(t, "--datadir", dir, "--http", "--http.port", "0", "--ws", "--ws.port", "0", "--datadir.minfreedisk", strconv.FormatUint(free>>20*3/4, 10))
	for _, endpoint := range []string{filepath.Join(dir, "sunbeam.ipc"), "http://" + n.addr("http")} {
		stdout, stderr, code := sunbeam(t, "status", endpoint)
		if code != 1 || strings.Contains(stdout, "ready") || !strings.Contains(stderr, "not ready: ") || !strings.Contains(stderr, "--datadir.minfreedisk") {
			t.Errorf("status %s: exit %d, %q, %q", endpoint, code, stdout, stderr)
		}
	}
	if _, stderr, code := sunbeam(t, "status", "ws://"+n.addr("ws")); code != 1 || !strings.Contains(stderr, "--ws.api") {
		t.Errorf("status over WebSocket: exit %d, %q", code, stderr)
	}
	n.stop(t, syscall.SIGTERM)
}

func TestRemoveDatabaseAsks(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "yeah": false} {
		if got, err := yes(strings.NewReader(answer)); err != nil || got != want {
			t.Errorf("%q: %v, %v", answer, got, err)
		}
	}
}

// Each command of geth is here, or says why it is not.
func TestCommandsOfGeth(t *testing.T) {
	geth, err := gethpeer.Binary(t.Context())
	check(t, err)
	help, err := exec.CommandContext(t.Context(), geth, "--help").Output()
	check(t, err)
	_, list, _ := strings.Cut(string(help), "COMMANDS:")
	list, _, _ = strings.Cut(list, "GLOBAL OPTIONS:")
	found := regexp.MustCompile(`(?m)^ {3}([a-z-]+)`).FindAllStringSubmatch(list, -1)
	if len(found) < 20 {
		t.Fatalf("geth has %d commands only:\n%s", len(found), list)
	}
	app := newApp([]string{"geth"}, os.LookupEnv, os.Stdout, os.Stderr)
	for _, m := range found {
		if reason, refused := refusedCommands[m[1]]; refused {
			if _, stderr, code := sunbeam(t, m[1], "--some", "flag"); code != 1 || !strings.Contains(stderr, reason) {
				t.Errorf("%s: exit %d, %s", m[1], code, stderr)
			}
		} else if app.Command(m[1]) == nil && m[1] != "help" {
			t.Errorf("command %s of geth is unknown", m[1])
		}
	}
	for _, network := range []string{"--sepolia", "--hoodi"} {
		want, err := exec.CommandContext(t.Context(), geth, network, "dumpgenesis").Output()
		check(t, err)
		if got, stderr, code := sunbeam(t, network, "dumpgenesis"); code != 0 || got != string(want) {
			t.Errorf("%s dumpgenesis: exit %d, %s, %d bytes, geth: %d", network, code, stderr, len(got), len(want))
		}
	}
}

func TestTexts(t *testing.T) {
	for command, want := range map[string]string{"license": "Lesser General Public License", "man": ".TH sunbeam", "help": "GLOBAL OPTIONS", "completion fish": "complete -c sunbeam", "completion zsh": "bashcompinit"} {
		if stdout, stderr, code := sunbeam(t, strings.Fields(command)...); code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit %d, %s%s", command, code, stdout, stderr)
		}
	}
	if _, stderr, code := sunbeam(t, "completion", "cmd"); code != 1 || !strings.Contains(stderr, "bash, zsh or fish") {
		t.Errorf("completion cmd: %s", stderr)
	}
}

// The help of a command shows the flags that it uses, and all are taken.
func TestHelpOfCommands(t *testing.T) {
	for command, want := range map[string]string{
		"status": "--sepolia", "top": "--once", "attach": "--exec", "init": "--datadir", "import": "--override.osaka", "export": "--datadir", "removedb": "--remove.state",
		"dumpgenesis": "--override.genesis", "prune-history": "--history.chain", "db stats": "--datadir", "db verify": "--cache",
	} {
		stdout, stderr, code := sunbeam(t, append(strings.Fields(command), "--help")...)
		if code != 0 || !strings.Contains(stdout, want) || strings.Contains(stdout, "--maxpeers") || strings.Contains(stdout, "--txpool.pricelimit") {
			t.Errorf("%s: exit %d, %s\n%s", command, code, stderr, stdout)
		}
	}
	if stdout, stderr, code := sunbeam(t, "dumpgenesis", "--sepolia", "--maxpeers", "3"); code != 0 || !strings.Contains(stdout, "config") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// The script completes what is typed, in a real bash.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	check(t, err)
	script, _, _ := sunbeam(t, "completion", "bash")
	self, err := os.Executable()
	check(t, err)
	for typed, want := range map[string]string{"(sunbeam --authrpc.jw)": "--authrpc.jwtsecret", "(sunbeam dumpg)": "dumpgenesis", "(sunbeam init --datadi)": "--datadir", "(sunbeam --g)": "--gogc", "(sunbeam attach --ex)": "--exec"} {
		cmd := exec.CommandContext(t.Context(), bash, "-c", "sunbeam() { "+self+` "$@"; }`+"\n"+script+"\nCOMP_WORDS="+typed+"; COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _sunbeam_complete; echo ${COMPREPLY[@]}")
		cmd.Env = append(os.Environ(), asCommand+"=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if out, err := cmd.Output(); err != nil || !strings.Contains(" "+strings.TrimSpace(string(out))+" ", " "+want+" ") || strings.Contains(string(out), "--graphql") {
			t.Errorf("%s: %v, %q %s", typed, err, out, &stderr)
		}
	}
}
