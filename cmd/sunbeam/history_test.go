// SPDX-License-Identifier: LGPL-3.0-or-later

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

// TestHistoryArchives: the archives of a chain from before the merge to after it are geth's, byte for byte, and geth's are imported.
func TestHistoryArchives(t *testing.T) {
	data := filepath.Join(realdata.Dir(t), "rpc-compat")
	geth, err := gethpeer.Binary(t.Context())
	check(t, err)
	parent := t.TempDir()
	dir := func(name string) string { return filepath.Join(parent, name) }
	theirs := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), geth, append([]string{"--datadir", dir("geth")}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("geth %v: %v\n%s", args, err, out)
		}
	}
	ours := func(datadir, want string, args ...string) {
		t.Helper()
		stdout, stderr, code := sunbeam(t, append([]string{"--datadir", dir(datadir)}, args...)...)
		if failed := code != 0; failed != strings.HasPrefix(want, "!") || !strings.Contains(stdout+stderr, strings.TrimPrefix(want, "!")) {
			t.Errorf("%v: exit %d, %s%s, want %q", args, code, stdout, stderr, want)
		}
	}
	theirs("init", filepath.Join(data, "genesis.json"))
	theirs("import", filepath.Join(data, "chain.rlp"))
	ours("ours", "genesis", "init", filepath.Join(data, "genesis.json"))
	ours("ours", "Imported blocks", "import", filepath.Join(data, "chain.rlp"))
	for name, args := range map[string][]string{
		"proof of work": {"--era.format", "era1", "", "0", "35"}, "from the middle": {"--era.format", "era1", "", "7", "20"},
		"all": {"--era.format", "ere", "", "0", "54"}, "proof of stake": {"--era.format", "ere", "", "40", "54"},
	} {
		args[2] = dir("theirs " + name)
		theirs(append([]string{"export-history"}, args...)...)
		args[2] = dir("ours " + name)
		ours("ours", "Exported history", append([]string{"export-history"}, args...)...)
		sameFiles(t, dir("theirs "+name), dir("ours "+name))
	}
	ours("ours", "!larger than the head", "export-history", dir("none"), "0", "55")
	ours("ours", "!--era.format ere", "export-history", "--era.format", "era1", dir("none"), "0", "54")

	ours("fresh", "genesis", "init", filepath.Join(data, "genesis.json"))
	ours("fresh", "!has era1 archives", "import-history", "--era.format", "ere", dir("theirs proof of work"))
	ours("fresh", "blocks=36", "--log.format", "logfmt", "import-history", dir("theirs proof of work"))
	ours("fresh", "blocks=55", "--log.format", "logfmt", "import-history", dir("theirs all"))
	ours("fresh", "skipped=1", "--log.format", "logfmt", "import-history", dir("theirs all"))
	ours("ours", "skipped=1", "--log.format", "logfmt", "import-history", dir("theirs all"))
	check(t, os.WriteFile(filepath.Join(dir("theirs all"), "checksums.txt"), []byte(strings.Repeat("0x00", 1)), 0o600))
	ours("other", "genesis", "init", filepath.Join(data, "genesis.json"))
	ours("other", "!checksum mismatch", "import-history", dir("theirs all"))
	ours("mainnet", "!no era1 or ere archives of network mainnet", "import-history", dir("theirs all"))
}

// sameFiles compares the files of two directories.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	entries, err := os.ReadDir(want)
	check(t, err)
	have, err := os.ReadDir(got)
	check(t, err)
	if len(entries) < 2 || len(have) != len(entries) {
		t.Errorf("%v, want %v", have, entries)
	}
	for _, entry := range entries {
		a, err := os.ReadFile(filepath.Join(want, entry.Name()))
		check(t, err)
		b, err := os.ReadFile(filepath.Join(got, entry.Name()))
		check(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d bytes, want %d", filepath.Join(got, entry.Name()), len(b), len(a))
		}
	}
}
