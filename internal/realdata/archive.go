// SPDX-License-Identifier: LGPL-3.0-or-later

package realdata

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// Files returns the content of files in a tar.gz archive of the data directory, by base name. It skips the test if there is no
// data, and fails it if a file is not in the archive.
func Files(t testing.TB, archive string, names ...string) map[string][]byte {
	t.Helper()
	file, err := os.Open(filepath.Join(Dir(t), archive))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	raw, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]byte)
	for in := tar.NewReader(raw); ; {
		entry, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if filepath.Base(entry.Name) != name {
				continue
			}
			if found[name], err = io.ReadAll(in); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range names {
		if found[name] == nil {
			t.Fatalf("%s has no %s", archive, name)
		}
	}
	return found
}
