// SPDX-License-Identifier: LGPL-3.0-or-later

package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTroubleshooting compares docs/troubleshooting.md with the code: each line that it explains is logged, and
// each warning and error that the node logs is explained.
func TestTroubleshooting(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	logged := regexp.MustCompile(`\.(Info|Warn|Error)\(\s*"([^"]+)"`)
	messages := make(map[string]string) // to the level
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if entry.IsDir() {
			if rel != "." && !inNode(filepath.ToSlash(rel)) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range logged.FindAllStringSubmatch(string(source), -1) {
			messages[m[2]] = m[1]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) < 40 {
		t.Fatalf("found only %d messages", len(messages))
	}
	for message, level := range messages {
		if level != "Info" && !strings.Contains(string(page), "`"+message+"`") {
			t.Errorf("%s %q is not explained", level, message)
		}
	}
	explained, _, _ := strings.Cut(string(page), "## The node ends with a message")
	quoted := regexp.MustCompile("`([A-Z][^`]+)`")
	for line := range strings.Lines(explained) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			if _, ok := messages[m[1]]; !ok {
				t.Errorf("%q is explained, but not logged", m[1])
			}
		}
	}
}

// inNode says whether a folder holds code of the node, or leads to such.
func inNode(folder string) bool {
	top, rest, _ := strings.Cut(folder, "/")
	switch top {
	case "beamsync", "chain", "config", "db", "evm", "logindex", "p2p", "payloadbuilder", "pool", "rpc", "trie":
		return rest != "internal"
	case "internal":
		return rest == "" || rest == "node" || rest == "metrics" || rest == "atomicfile" || rest == "diskspace" || rest == "health"
	case "cmd":
		return rest == "" || rest == "sunbeam"
	}
	return false
}
