// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is the command itself when this is set.
const asCommand = "TEST_AS_SUNBEAM"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command is a process of ours with an environment of its own.
func command(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = []string{asCommand + "=1", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	return cmd
}

// sunbeam runs to its end.
func sunbeam(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := command(ctx, t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const genesisJSON = `{"config":{"chainId":4242,"homesteadBlock":0,"eip150Block":0,"eip155Block":0,"eip158Block":0,"byzantiumBlock":0,
"constantinopleBlock":0,"petersburgBlock":0,"istanbulBlock":0,"berlinBlock":0,"londonBlock":0,"terminalTotalDifficulty":0,"shanghaiTime":0},
"alloc":{"0x00000000000000000000000000000000000000aa":{"balance":"0x1"}},"difficulty":"0x0","gasLimit":"0x1000000"}`

func genesisFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "genesis.json")
	check(t, os.WriteFile(path, []byte(genesisJSON), 0o600))
	return path
}

// Whatever is wrong on the command line: exit 1, one line, nothing on disk.
func TestErrorsAreOneLine(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "datadir")
	genesis := genesisFile(t)
	tests := []struct {
		args []string
		says []string
	}{
		{[]string{"--port", "99999"}, []string{"--port", `"99999"`}},
		{[]string{"run", "--port", "99999"}, []string{"--port", `"99999"`}},
		{[]string{"--nosuchflag"}, []string{"nosuchflag"}},
		{[]string{"run", "--nosuchflag=3"}, []string{"nosuchflag"}},
		{[]string{"--htp", "--http.prt", "8545", "run", "-cash=5", "--port", "1", "--maxper", "3"}, []string{"--htp (is it --http?)", "--http.prt (is it --http.port?)", "--cash (is it --cache?)", "--maxper (is it --maxpeers?)"}},
		{[]string{"--foo"}, []string{"unknown flag --foo\n"}},
		{[]string{"--beam.backfill", "false", "--http"}, []string{"--beam.backfill=false"}},
		{[]string{"--ws", "import", "--http", "true", "/nowhere"}, []string{"--http=true"}},
		{[]string{"--gcmode=archive", "--dev"}, []string{"--gcmode archive", "--dev"}},
		{[]string{"--port"}, []string{"port"}},
		{[]string{"fly"}, []string{`"fly"`}},
		{[]string{"run", "fast"}, []string{`"fast"`}},
		{[]string{"--authrpc.jwtsecret", genesis}, []string{"--authrpc.jwtsecret", genesis}},
		{[]string{"init"}, []string{"GENESIS"}},
		{[]string{"init", "/nowhere"}, []string{"/nowhere"}},
		{[]string{"init", genesis, "more"}, []string{`"more"`}},
		{[]string{"init", "--cache", "1", genesis}, []string{"--cache", `"1"`}},
		{[]string{"import"}, []string{"FILE"}},
		{[]string{"import", "/nowhere"}, []string{"/nowhere"}},
		{[]string{"import-history"}, []string{"DIR"}},
		{[]string{"import-history", "/nowhere"}, []string{"/nowhere"}},
		{[]string{"import-history", "--era.format", "era2", parent}, []string{"--era.format", `"era2"`}},
		{[]string{"export-history", "/nowhere", "0"}, []string{"LAST"}},
		{[]string{"export-history", "/nowhere", "0", "x"}, []string{`"x"`}},
		{[]string{"export-history", "/nowhere", "2", "1"}, []string{"first block 2"}},
		{[]string{"dumpconfig", "--http.port", "x"}, []string{"--http.port", `"x"`}},
		{[]string{"db"}, []string{"stats"}},
		{[]string{"db", "stats"}, []string{dir}},
		{[]string{"db", "verify"}, []string{dir}},
		{[]string{"db", "repair"}, []string{"repair"}},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			stdout, stderr, code := sunbeam(t, append([]string{"--datadir", dir}, test.args...)...)
			if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "sunbeam: ") {
				t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			for _, part := range test.says {
				if !strings.Contains(stderr, part) {
					t.Errorf("%q does not say %q", stderr, part)
				}
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
				t.Errorf("made %v (%v)", entries, err)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	stdout, stderr, code := sunbeam(t, "version")
	if code != 0 || !strings.Contains(stdout, "Version: v") || !strings.Contains(stdout, "go-ethereum: v1.17.10") && !strings.Contains(stdout, "go-ethereum: unknown") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	stdout, _, code = sunbeam(t, "--help")
	for _, flag := range []string{"--authrpc.jwtsecret", "--beam.maxlag", "--peers", "SUNBEAM_HTTP_PORT", "30303", "dumpconfig"} {
		if code != 0 || !strings.Contains(stdout, flag) {
			t.Errorf("exit %d, help does not show %s", code, flag)
		}
	}
}

func TestDumpConfig(t *testing.T) {
	dir := t.TempDir()
	// Flags before and after the subcommand count alike.
	first, stderr, code := sunbeam(t, "--datadir", dir, "dumpconfig", "--http", "--http.port", "1234")
	if code != 0 {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "s.toml")
	check(t, os.WriteFile(file, []byte(first), 0o600))
	second, stderr, code := sunbeam(t, "dumpconfig", "--config", file)
	if code != 0 || first != second || !strings.Contains(second, "1234") {
		t.Errorf("exit %d: %s\nfirst:\n%s\nsecond:\n%s", code, stderr, first, second)
	}
	written := filepath.Join(t.TempDir(), "written.toml")
	if stdout, stderr, code := sunbeam(t, "dumpconfig", "--config", file, written); code != 0 || stdout != "" || stderr != "" {
		t.Errorf("to a file: exit %d: %s%s", code, stdout, stderr)
	}
	if third, err := os.ReadFile(written); err != nil || string(third) != first {
		t.Errorf("written to a file: %v\n%s", err, third)
	}
}

func TestSignalsStopTheNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, stderr, code := sunbeam(t, "init", "--datadir", dir, genesisFile(t)); code != 0 {
		t.Fatal(stderr)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		n := run(t, "--datadir", dir)
		// Another one on the same datadir gets an error.
		_, stderr, code := sunbeam(t, "--datadir", dir)
		if code != 1 || !strings.Contains(stderr, "in use") || !strings.Contains(stderr, dir) || strings.Contains(stderr, "goroutine") {
			t.Errorf("second instance: exit %d, %s", code, stderr)
		}
		begin := time.Now()
		n.stop(t, signal)
		if want := "because=\"signal " + signal.String() + "\""; !strings.Contains(n.log.String(), want) {
			t.Errorf("no %s in %s", want, &n.log)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s: stopped after %s", signal, took)
		}
	}
}
