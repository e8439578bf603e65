// SPDX-License-Identifier: LGPL-3.0-or-later

package atomicfile

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

var errCut = errors.New("power cut")

// disk is a file system in memory that knows what a power cut leaves: of content that was not synced any prefix, of
// names that were not synced the old or the new ones. The k-th operation and all later ones fail.
type disk struct {
	k      int
	nodes  map[string]*inode // by name, as a program sees them
	synced map[string]*inode // by name, durable
}

type inode struct {
	disk    *disk
	name    string
	content []byte
	durable int // bytes
}

func (d *disk) step() error {
	if d.k--; d.k <= 0 {
		return errCut
	}
	return nil
}

func (d *disk) createTemp(dir, pattern string) (tempFile, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	file := &inode{disk: d, name: filepath.Join(dir, pattern)}
	d.nodes[file.name] = file
	return file, nil
}

func (d *disk) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.nodes[to] = d.nodes[from]
	delete(d.nodes, from)
	return nil
}

func (d *disk) link(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	if d.nodes[to] != nil {
		return os.ErrExist
	}
	d.nodes[to] = d.nodes[from]
	return nil
}

func (d *disk) remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	if d.nodes[name] == nil {
		return os.ErrNotExist
	}
	delete(d.nodes, name)
	return nil
}

func (d *disk) syncDir(string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.synced = maps.Clone(d.nodes)
	return nil
}

func (f *inode) Name() string { return f.name }

func (f *inode) Write(p []byte) (int, error) {
	f.content = append(f.content, p...)
	return len(p), f.disk.step()
}

func (f *inode) Sync() error {
	if err := f.disk.step(); err != nil {
		return err
	}
	f.durable = len(f.content)
	return nil
}

func (f *inode) Close() error { return f.disk.step() }

// TestPowerCut cuts the power at each operation, and wants the old or the new content in whole.
func TestPowerCut(t *testing.T) {
	const path = "d/secret"
	before, after := []byte("old content"), []byte("the new content")
	methods := map[string]func(fileSystem, string, string) error{"rename": fileSystem.rename, "link": fileSystem.link}
	for method, name := range methods {
		for _, exists := range []bool{true, false} {
			for k := 1; ; k++ {
				d := &disk{k: k, nodes: make(map[string]*inode)}
				if exists {
					d.nodes[path] = &inode{disk: d, name: path, content: before, durable: len(before)}
				}
				d.synced = maps.Clone(d.nodes)
				err := publish(d, path, after, name)
				for state, names := range map[string]map[string]*inode{"names lost": d.synced, "names kept": d.nodes} {
					file := names[path]
					switch {
					case file == nil && !exists && err != nil:
					case file == nil:
						t.Errorf("%s, cut at step %d, %s: no file", method, k, state)
					case file.durable < len(file.content):
						t.Errorf("%s, cut at step %d, %s: %d of %d bytes are durable", method, k, state, file.durable, len(file.content))
					case err == nil && !bytes.Equal(file.content, after):
						t.Errorf("%s, not cut, %s: %q", method, state, file.content)
					}
				}
				if !errors.Is(err, errCut) {
					if method == "link" && exists != errors.Is(err, os.ErrExist) || method == "rename" && err != nil {
						t.Errorf("%s over a file (%v): %v", method, exists, err)
					}
					break
				}
				if k > 20 {
					t.Fatal("too many steps")
				}
			}
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	is := func(want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("content %q, error %v, want %q", got, err, want)
		}
		if stat, err := os.Stat(path); err != nil || stat.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, error %v", stat.Mode(), err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("files %v, error %v", entries, err)
		}
	}
	if err := Create(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	is("one")
	if err := Create(path, []byte("two")); !errors.Is(err, os.ErrExist) {
		t.Errorf("creating it again: %v", err)
	}
	is("one")
	if err := Write(path, []byte("three")); err != nil {
		t.Fatal(err)
	}
	is("three")
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(path, link), Write(link, []byte("four"))); err != nil {
		t.Fatal(err)
	}
	is("four")
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link points to %q, error %v", target, err)
	}
	if err := Write(dir, nil); err == nil {
		t.Error("a directory was replaced")
	}
	if err := Write(filepath.Join(dir, "absent", "file"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
