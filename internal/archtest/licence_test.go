// SPDX-License-Identifier: LGPL-3.0-or-later

package archtest

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// licenceLine is the first line of each Go file: the licence of the project (NOTICE) in the form that
// tools read (https://spdx.dev).
const licenceLine = "// SPDX-License-Identifier: LGPL-3.0-or-later"

// TestLicenceLines makes sure that each Go file says what its licence is, also those with build tags and
// those of the modules in tools.
func TestLicenceLines(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if name := entry.Name(); path != root && (strings.HasPrefix(name, ".") || path == filepath.Join(root, "build")) {
				return filepath.SkipDir
			}
			return nil
		case filepath.Ext(path) != ".go":
			return nil
		}
		files++
		first, err := firstLine(path)
		if err != nil {
			return err
		}
		if first != licenceLine {
			t.Errorf("%s begins with %q, want %q", path, first, licenceLine)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("found only %d Go files below %s", files, root)
	}
}

func firstLine(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Scan()
	return scanner.Text(), scanner.Err()
}
