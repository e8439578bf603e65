// SPDX-License-Identifier: LGPL-3.0-or-later

package realdata

import (
	"os"
	"path/filepath"
	"testing"
)

// A test without its data is skipped and named; with it, it runs.
func TestDir(t *testing.T) {
	root := t.TempDir()
	pkg := filepath.Join(root, "clone", "chain", "rules")
	if err := os.MkdirAll(pkg, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "clone", "go.mod"), []byte("module m\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(pkg)
	t.Setenv(Env, "")
	reached := false
	needs := func(t *testing.T) {
		Dir(t)
		reached = true
	}
	record := filepath.Join(root, "clone", "build", "not-run", "chain_rules.TestDir_absent")
	t.Run("absent", needs)
	if text, err := os.ReadFile(record); err != nil || string(text) != "chain/rules TestDir/absent\n" || reached {
		t.Errorf("without data: recorded %q, %v; the test went on: %v", text, err, reached)
	}
	data := filepath.Join(root, "shared", "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Run("present", needs)
	entries, err := os.ReadDir(filepath.Dir(record))
	if err != nil || len(entries) != 1 || !reached {
		t.Errorf("with data: %v, %v; the test went on: %v", entries, err, reached)
	}
	t.Setenv(Env, pkg)
	if got := Dir(t); got != pkg {
		t.Errorf("%s names %s, the data is looked for in %s", Env, pkg, got)
	}
}

func TestModuleRoot(t *testing.T) {
	if root, err := moduleRoot(filepath.VolumeName(t.TempDir()) + string(filepath.Separator)); err == nil {
		t.Errorf("the file system's root is in the module %s", root)
	}
}
