// SPDX-License-Identifier: LGPL-3.0-or-later

package archtest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestInstall: what make install puts below a prefix knows that prefix, and the links of its documentation lead somewhere.
func TestInstall(t *testing.T) {
	built, root := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(built, "sunbeam"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "make", "-s", "-C", "../..", "install", "BUILD="+built, "DESTDIR="+root, "PREFIX=/opt/sb")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	unit, err := os.ReadFile(filepath.Join(root, "opt/sb/lib/systemd/system/sunbeam.service"))
	if err != nil || !strings.Contains(string(unit), "ExecStart=/opt/sb/bin/sunbeam ") || strings.Contains(string(unit), "/usr/local") {
		t.Errorf("%v\n%s", err, unit)
	}
	link, pages := regexp.MustCompile(`\]\(([^)#\s]+)`), 0
	err = filepath.WalkDir(filepath.Join(root, "opt/sb/share/doc/sunbeam"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		pages++
		text, err := os.ReadFile(path)
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(match[1], ":") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), match[1])); err != nil {
				t.Errorf("%s: link to %s", path, match[1])
			}
		}
		return err
	})
	if err != nil || pages < 20 {
		t.Errorf("%d pages, %v", pages, err)
	}
}
