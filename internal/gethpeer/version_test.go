// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// pinned is the version of go-ethereum that a go.mod requires; empty if it requires none.
func pinned(gomod []byte) string {
	line := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(geth) + `\s+(v\S+)`).FindSubmatch(gomod)
	if line == nil {
		return ""
	}
	return string(line[1])
}

func TestPinned(t *testing.T) {
	for gomod, want := range map[string]string{
		"require (\n\tgithub.com/ethereum/go-ethereum v1.2.3 // indirect\n)": "v1.2.3",
		"require github.com/ethereum/go-ethereum v1.2.3\n":                   "v1.2.3",
		"require github.com/ethereum/go-ethereum/sub v1.2.3\n":               "",
		"tool github.com/ethereum/go-ethereum/cmd/geth\n":                    "",
		"// require github.com/ethereum/go-ethereum v1.2.3\n":                "",
	} {
		if got := pinned([]byte(gomod)); got != want {
			t.Errorf("%q pins %q, want %q", gomod, got, want)
		}
	}
}

// The geth that tests and the demo run has the version of the library that the node is built on.
func TestGethIsTheLibrarysVersion(t *testing.T) {
	root := filepath.Join("..", "..")
	versions := make(map[string]string)
	for _, dir := range []string{".", filepath.FromSlash(gethModule)} {
		text, err := os.ReadFile(filepath.Join(root, dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if versions[dir] = pinned(text); versions[dir] == "" {
			t.Fatalf("%s/go.mod does not require %s", dir, geth)
		}
	}
	if ours, peers := versions["."], versions[filepath.FromSlash(gethModule)]; ours != peers {
		t.Errorf("go.mod pins %s %s, %s/go.mod pins %s: run go get %s@%s and go mod tidy there", geth, ours, gethModule, peers, geth, ours)
	}
}
