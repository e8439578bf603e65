// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var _ tableStore = (*pebbleStore)(nil)

// tablePrefix begins the names of tables that are not part of the database yet. Pebble gives them other names when it takes them.
const tablePrefix = "bulk-"

// dropTables removes the tables that a crash left behind.
func dropTables(files vfs.FS, path string) error {
	names, err := files.List(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		if err == nil && strings.HasPrefix(name, tablePrefix) {
			err = files.Remove(files.PathJoin(path, name))
		}
	}
	return err
}

// buildTables implements tableStore. Pebble puts tables of runs at its lowest level, and sorts the others in as it does with what was
// written in batches. If most is loose, it is a batch's work.
func (p *pebbleStore) buildTables(entries []entry, cuts [][]byte, shortest int) ([]string, error) {
	var built []string
	err := p.use(func() error {
		if err := p.health.check(); err != nil {
			return err
		}
		return p.try(func() error {
			parts, loose, err := p.divide(entries, cuts, shortest)
			if err != nil || loose > sizeOf(entries)/2 {
				return err
			}
			for _, part := range parts {
				name, err := p.buildTable(part)
				if err != nil {
					return err
				}
				built = append(built, name)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err // built may still change
	}
	return built, nil
}

func (p *pebbleStore) divide(entries []entry, cuts [][]byte, shortest int) (tables [][]entry, loose int, err error) {
	it, err := p.db.NewIter(nil)
	if err != nil {
		return nil, 0, err
	}
	tables, loose, err = divide(entries, cuts, shortest, func(key []byte) ([]byte, error) {
		if it.SeekGE(key) {
			return bytes.Clone(it.Key()), nil
		}
		return nil, it.Error()
	})
	return tables, loose, errors.Join(err, it.Close())
}

func (p *pebbleStore) buildTable(entries []entry) (name string, err error) {
	name = p.files.PathJoin(p.path, fmt.Sprintf("%s%d", tablePrefix, p.tables.Add(1)))
	file, err := p.files.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return "", err
	}
	const lowest = 6
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), p.options.MakeWriterOptions(lowest, p.db.TableFormat()))
	for _, e := range entries {
		if err := w.Set(e.key, e.value); err != nil {
			return "", errors.Join(err, w.Close())
		}
	}
	return name, w.Close() // syncs
}

// takeTables implements tableStore. Tables are durable before what is in the log is, so that is synced first.
func (p *pebbleStore) takeTables(tables []string) error {
	return p.write(func() error {
		if err := p.db.LogData(nil, pebble.Sync); err != nil {
			return err
		}
		return p.db.Ingest(context.Background(), tables)
	})
}
