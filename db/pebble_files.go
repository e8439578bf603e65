// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleFiles is the files of a Pebble database. Pebble panics when it cannot create a log, for want of space above all, or sync the
// name of a manifest, and while it unwinds it ends the process by unlocking a lock that it does not hold. So once the database is
// open, a write that fails is reported, and does not return: what called it is a write that [pebbleStore.write] gives up, or a flush
// or a compaction. Reads go on.
type pebbleFiles struct {
	vfs.FS
	health *pebbleHealth
	opened atomic.Bool
}

// end reports err and does not return, if there is one and the database is open.
func (f *pebbleFiles) end(err error, operation, name string) error {
	if err == nil || !f.opened.Load() {
		return err
	}
	f.health.report(fmt.Errorf("%s %s: %w", operation, name, err), true)
	select {}
}

func (f *pebbleFiles) file(file vfs.File, err error, operation, name string) (vfs.File, error) {
	if err := f.end(err, operation, name); err != nil {
		return nil, err
	}
	return &pebbleFile{file, f, name}, nil
}

// Create implements vfs.FS.
func (f *pebbleFiles) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return f.file(file, err, "create", name)
}

// ReuseForWrite implements vfs.FS.
func (f *pebbleFiles) ReuseForWrite(oldName, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldName, name, category)
	return f.file(file, err, "create", name)
}

// OpenDir implements vfs.FS.
func (f *pebbleFiles) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.file(file, err, "open", name)
}

// Rename implements vfs.FS.
func (f *pebbleFiles) Rename(oldName, name string) error {
	return f.end(f.FS.Rename(oldName, name), "rename", name)
}

// Link implements vfs.FS.
func (f *pebbleFiles) Link(oldName, name string) error {
	return f.end(f.FS.Link(oldName, name), "link", name)
}

// Unwrap implements vfs.FS.
func (f *pebbleFiles) Unwrap() vfs.FS { return f.FS }

// pebbleFile is a file that is written, or a directory that is synced.
type pebbleFile struct {
	vfs.File
	files *pebbleFiles
	name  string
}

// Write implements io.Writer.
func (f *pebbleFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.files.end(err, "write", f.name)
}

// WriteAt implements io.WriterAt.
func (f *pebbleFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	return n, f.files.end(err, "write", f.name)
}

// Sync implements vfs.File.
func (f *pebbleFile) Sync() error { return f.files.end(f.File.Sync(), "sync", f.name) }

// SyncData implements vfs.File.
func (f *pebbleFile) SyncData() error { return f.files.end(f.File.SyncData(), "sync", f.name) }

// SyncTo implements vfs.File.
func (f *pebbleFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.files.end(err, "sync", f.name)
}
