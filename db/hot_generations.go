// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/memorydb"
)

// directories is a generationStore on disk: each generation is in a directory named by its number.
type directories struct {
	root   string
	opts   Options
	health *failure
}

func (d directories) path(number uint64) string {
	return filepath.Join(d.root, strconv.FormatUint(number, 10))
}

func (d directories) list() ([]uint64, error) {
	entries, err := os.ReadDir(d.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []uint64
	for _, entry := range entries {
		if number, err := strconv.ParseUint(entry.Name(), 10, 64); err == nil && entry.IsDir() {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (d directories) open(number uint64) (ethdb.KeyValueStore, string, error) {
	path := d.path(number)
	if !d.opts.ReadOnly {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, "", fmt.Errorf("create generation of the hot store: %w", err)
		}
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return memorydb.New(), path, nil // never written
	}
	kv, err := openEngine(path, "eth/db/beam-hot/", d.opts, 4, d.health)
	return kv, path, err
}

func (d directories) remove(number uint64) error {
	if err := os.RemoveAll(d.path(number)); err != nil {
		return fmt.Errorf("remove generation of the hot store: %w", err)
	}
	return nil
}

// memoryGenerations is a generationStore in memory.
type memoryGenerations struct{}

func (memoryGenerations) list() ([]uint64, error) { return nil, nil }

func (memoryGenerations) open(number uint64) (ethdb.KeyValueStore, string, error) {
	return memorydb.New(), fmt.Sprintf("beam-hot/%d (memory)", number), nil
}

func (memoryGenerations) remove(uint64) error { return nil }
