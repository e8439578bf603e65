// SPDX-License-Identifier: LGPL-3.0-or-later

// Package atomicfile writes small files that survive a power cut.
//
// The content goes to a temporary file in the same directory, which is synced and then takes the final name. Last, the
// directory is synced. Whenever the machine stops, the file is the old one or the new one, in whole.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Write replaces a regular file, or creates it, with mode 0600. A symbolic link stays one: its target is replaced.
func Write(path string, content []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if stat, err := os.Stat(path); err == nil && !stat.Mode().IsRegular() {
		return fmt.Errorf("write %s: not a regular file", path)
	}
	return publish(system{}, path, content, fileSystem.rename)
}

// Create is [Write] for a new file. If the file exists, it keeps its content and the error is [os.ErrExist].
func Create(path string, content []byte) error {
	return publish(system{}, path, content, fileSystem.link)
}

// fileSystem is what can fail, or stop half-way.
type fileSystem interface {
	createTemp(dir, pattern string) (tempFile, error) // mode 0600
	rename(from, to string) error
	link(from, to string) error // fails if to exists; from may remain
	remove(path string) error
	syncDir(dir string) error
}

// tempFile is an open temporary file.
type tempFile interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// publish writes a temporary file and gives it its final name.
func publish(files fileSystem, path string, content []byte, name func(files fileSystem, from, to string) error) error {
	dir := filepath.Dir(path)
	file, err := files.createTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = name(files, file.Name(), path)
	}
	if gone := files.remove(file.Name()); err == nil && !errors.Is(gone, os.ErrNotExist) {
		err = gone
	}
	if err == nil {
		err = files.syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// system is the operating system's files.
type system struct{}

func (system) createTemp(dir, pattern string) (tempFile, error) { return os.CreateTemp(dir, pattern) }

func (system) rename(from, to string) error { return os.Rename(from, to) }

// link falls back to rename where the file system has no hard links.
func (system) link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, os.ErrExist) {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return os.ErrExist
	}
	return os.Rename(from, to)
}

func (system) remove(path string) error { return os.Remove(path) }

// syncDir makes the names in a directory durable. Some file systems cannot sync a directory, and say EINVAL.
func (system) syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}
