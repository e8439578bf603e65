// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// checksumsFile has the SHA-256 of each archive of a directory, a line each: in their order, or with the name after it.
const checksumsFile = "checksums.txt"

// Entry is an archive of a directory.
type Entry struct {
	Path     string
	Network  string
	Epoch    uint64
	ID       string // eight hex digits of the accumulator or of the hash of the last block
	Format   Format
	Checksum string // hex with 0x; empty if the directory has no checksums
}

// ReadDir returns the archives of a directory in the order of their epochs: those of a network, or of the only one if the name is empty.
func ReadDir(dir, network string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	networks := make(map[string]bool)
	for _, file := range files {
		if entry, ok := parseName(file.Name()); ok && (network == "" || entry.Network == network) {
			entry.Path = filepath.Join(dir, file.Name())
			entries = append(entries, entry)
			networks[entry.Network] = true
		}
	}
	switch {
	case len(entries) == 0 && network != "":
		return nil, fmt.Errorf("no era1 or ere archives of network %s in %s", network, dir)
	case len(entries) == 0:
		return nil, fmt.Errorf("no era1 or ere archives in %s", dir)
	case len(networks) > 1:
		return nil, fmt.Errorf("archives of several networks in %s: say which by a network flag", dir)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Epoch, b.Epoch) })
	for i, entry := range entries[1:] {
		switch before := entries[i]; {
		case entry.Format != before.Format:
			return nil, fmt.Errorf("era1 and ere archives in %s: %s, %s", dir, filepath.Base(before.Path), filepath.Base(entry.Path))
		case entry.Epoch == before.Epoch:
			return nil, fmt.Errorf("two archives of epoch %d: %s, %s", entry.Epoch, filepath.Base(before.Path), filepath.Base(entry.Path))
		case entry.Epoch != before.Epoch+1:
			return nil, fmt.Errorf("missing epoch %d in %s", before.Epoch+1, dir)
		}
	}
	return entries, readChecksums(dir, entries)
}

// parseName parses <network>-<epoch>-<id>.era1 and <network>-<epoch>-<id>(-<profile>)*.ere.
func parseName(name string) (e Entry, ok bool) {
	e.Format = Format(strings.TrimPrefix(filepath.Ext(name), "."))
	parts := strings.Split(strings.TrimSuffix(name, filepath.Ext(name)), "-")
	if e.Format != Era1 && e.Format != Ere || len(parts) < 3 {
		return e, false
	}
	epoch, err := strconv.ParseUint(parts[1], 10, 32)
	e.Network, e.Epoch, e.ID = parts[0], epoch, parts[2]
	_, hexErr := hex.DecodeString(e.ID)
	return e, err == nil && hexErr == nil && len(e.ID) == 8
}

// readChecksums reads the checksums of archives, if the directory has them.
func readChecksums(dir string, entries []Entry) error {
	file, err := os.Open(filepath.Join(dir, checksumsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	var sums []string
	named := make(map[string]string)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		sum := "0x" + strings.TrimPrefix(strings.ToLower(fields[0]), "0x")
		sums = append(sums, sum)
		if len(fields) > 1 {
			named[strings.TrimPrefix(fields[1], "*")] = sum
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	last := entries[len(entries)-1].Epoch
	for i := range entries {
		sum, ok := named[filepath.Base(entries[i].Path)]
		switch {
		case ok:
		case len(sums) == len(entries):
			sum = sums[i]
		case last < uint64(len(sums)): // a part of the archives from epoch 0 on
			sum = sums[entries[i].Epoch]
		default:
			return fmt.Errorf("%s has %d checksums for %d archives", file.Name(), len(sums), len(entries))
		}
		entries[i].Checksum = sum
	}
	return nil
}

// Sum returns the SHA-256 of a file in hex, with 0x.
func Sum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return "0x" + hex.EncodeToString(hash.Sum(nil)), nil
}

// WriteChecksums writes the checksums of all archives of a directory.
func WriteChecksums(dir string, sums []string) error {
	return os.WriteFile(filepath.Join(dir, checksumsFile), []byte(strings.Join(sums, "\n")), 0o644)
}
