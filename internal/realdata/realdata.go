// SPDX-License-Identifier: LGPL-3.0-or-later

// Package realdata finds third-party data that tests run on: real blocks and recorded chains. It is
// not part of the repository: the default place is ../shared/data, beside it. README.md lists the
// files and their sources.
//
// A test whose data is absent cannot run. It is skipped, and a file in build/not-run names it, so that
// `make test` ends with a list of what it did not test. Because the test opened that file, go test
// runs the test anew, instead of showing a cached result, once the file is gone.
package realdata

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Env names another directory for the data.
const Env = "SUNBEAM_TESTDATA"

// notRun is the directory for the names of tests that did not run, from the root of our module.
const notRun = "build/not-run"

// Dir returns the absolute path of the data directory. It skips the test if there is none.
func Dir(t testing.TB) string {
	t.Helper()
	pkg, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root, err := moduleRoot(pkg)
	if err != nil {
		t.Fatal(err)
	}
	data := dataDir(root, os.Getenv(Env))
	if _, err := os.Stat(data); err != nil {
		if err := record(root, pkg, t.Name()); err != nil {
			t.Logf("This test is not listed at the end of make test: %v", err)
		}
		t.Skipf("no third-party test data: %v (internal/realdata/README.md says where it is from; %s names another directory)", err, Env)
	}
	return data
}

// moduleRoot is the directory around dir that has a go.mod.
func moduleRoot(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}

func dataDir(root, override string) string {
	if override != "" {
		return override
	}
	return filepath.Join(filepath.Dir(root), "shared", "data")
}

// record leaves a file that names a test which does not run. An existing one is left as it is.
func record(root, pkg, test string) error {
	name, err := filepath.Rel(root, pkg)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, filepath.FromSlash(notRun))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	line := filepath.ToSlash(name) + " " + test
	path := filepath.Join(dir, strings.NewReplacer("/", "_", " ", ".").Replace(line))
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, []byte(line+"\n"), 0o644)
}
