// SPDX-License-Identifier: LGPL-3.0-or-later

package powercut

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// levelBuffer is the size of LevelDB's memory table, in bytes.
const levelBuffer = 128 << 10

type levelEngine struct {
	db      *leveldb.DB
	storage *levelStorage
}

// openLevelDB opens a database whose writes are not synced, as go-ethereum's are.
func openLevelDB(d *Disk, path string, readOnly bool) (ethdb.KeyValueStore, error) {
	files := &levelStorage{d.fs, path, &d.lengths}
	db, err := leveldb.Open(files, &opt.Options{WriteBuffer: levelBuffer, DisableSeeksCompaction: true, ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	return store{levelEngine{db, files}}, nil
}

func (e levelEngine) get(key []byte) ([]byte, error) {
	value, err := e.db.Get(key, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, errAbsent
	}
	return value, err
}

func (e levelEngine) apply(changes []change) error {
	b := new(leveldb.Batch)
	for _, c := range changes {
		switch c.kind {
		case put:
			b.Put(c.key, c.value)
		case remove:
			b.Delete(c.key)
		case removeRange:
			it := e.iterate(c.key, c.end)
			for it.Next() {
				b.Delete(it.Key())
			}
			it.Release()
			if err := it.Error(); err != nil {
				return err
			}
		}
	}
	return e.db.Write(b, nil)
}

func (e levelEngine) iterate(lower, upper []byte) ethdb.Iterator {
	return e.db.NewIterator(&util.Range{Start: lower, Limit: upper}, nil)
}

func (e levelEngine) Close() error { return e.db.Close() }

// sync syncs the logs, as package db does.
func (e levelEngine) sync() error {
	names, err := e.storage.fs.List(e.storage.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		file, err := e.storage.fs.OpenReadWrite(e.storage.path(name), vfs.WriteCategoryUnspecified)
		if err != nil {
			continue // its content is in a table, which is synced
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return err
		}
	}
	return syncDir(e.storage.fs, e.storage.dir)
}

func syncDir(fs vfs.FS, path string) error {
	dir, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// levelStorage is the files of a LevelDB database, under the names that goleveldb gives them on disk and synced when
// it syncs them there.
type levelStorage struct {
	fs      vfs.FS
	dir     string
	lengths *sync.Map
}

func (s *levelStorage) path(name string) string { return s.fs.PathJoin(s.dir, name) }

func (s *levelStorage) file(fd storage.FileDesc) string { return s.path(fileName(fd)) }

func fileName(fd storage.FileDesc) string {
	switch fd.Type {
	case storage.TypeManifest:
		return fmt.Sprintf("MANIFEST-%06d", fd.Num)
	case storage.TypeJournal:
		return fmt.Sprintf("%06d.log", fd.Num)
	case storage.TypeTable:
		return fmt.Sprintf("%06d.ldb", fd.Num)
	}
	return fmt.Sprintf("%06d.tmp", fd.Num)
}

func describe(name string) (fd storage.FileDesc, ok bool) {
	if n, err := fmt.Sscanf(name, "MANIFEST-%d", &fd.Num); n == 1 && err == nil {
		fd.Type = storage.TypeManifest
		return fd, true
	}
	var suffix string
	if n, err := fmt.Sscanf(name, "%d.%s", &fd.Num, &suffix); n != 2 || err != nil {
		return fd, false
	}
	switch suffix {
	case "log":
		fd.Type = storage.TypeJournal
	case "ldb":
		fd.Type = storage.TypeTable
	case "tmp":
		fd.Type = storage.TypeTemp
	default:
		return fd, false
	}
	return fd, true
}

type unlocked struct{}

func (unlocked) Unlock() {}

func (s *levelStorage) Lock() (storage.Locker, error) { return unlocked{}, nil }
func (s *levelStorage) Log(string)                    {}
func (s *levelStorage) Close() error                  { return nil }

func (s *levelStorage) SetMeta(fd storage.FileDesc) error {
	temp := s.path(fmt.Sprintf("CURRENT.%d", fd.Num))
	file, err := s.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, fileName(fd)+"\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	s.lengths.Store(s.path("CURRENT"), len(fileName(fd))+1)
	if err := s.fs.Rename(temp, s.path("CURRENT")); err != nil {
		return err
	}
	return syncDir(s.fs, s.dir)
}

func (s *levelStorage) GetMeta() (fd storage.FileDesc, err error) {
	file, err := s.fs.Open(s.path("CURRENT"))
	if err != nil {
		return fd, err
	}
	text, err := io.ReadAll(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return fd, err
	}
	fd, ok := describe(strings.TrimSpace(string(text)))
	if !ok {
		return fd, &storage.ErrCorrupted{Err: fmt.Errorf("CURRENT is %q", text)}
	}
	return fd, nil
}

func (s *levelStorage) List(types storage.FileType) (list []storage.FileDesc, err error) {
	names, err := s.fs.List(s.dir)
	for _, name := range names {
		if fd, ok := describe(name); ok && fd.Type&types != 0 {
			list = append(list, fd)
		}
	}
	return list, err
}

// levelReader adds Seek.
type levelReader struct {
	*io.SectionReader
	io.Closer
}

func (s *levelStorage) Open(fd storage.FileDesc) (storage.Reader, error) {
	file, err := s.fs.Open(s.file(fd))
	if err != nil {
		return nil, err
	}
	stat, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return levelReader{io.NewSectionReader(file, 0, stat.Size()), file}, nil
}

// levelWriter syncs the directory with a manifest.
type levelWriter struct {
	vfs.File
	s  *levelStorage
	fd storage.FileDesc
}

func (w levelWriter) Sync() error {
	stat, err := w.Stat()
	if err != nil {
		return err
	}
	if err := w.File.Sync(); err != nil {
		return err
	}
	w.s.lengths.Store(w.s.file(w.fd), int(stat.Size()))
	if w.fd.Type != storage.TypeManifest {
		return nil
	}
	return syncDir(w.s.fs, w.s.dir)
}

func (s *levelStorage) Create(fd storage.FileDesc) (storage.Writer, error) {
	file, err := s.fs.Create(s.file(fd), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return levelWriter{file, s, fd}, nil
}

func (s *levelStorage) Remove(fd storage.FileDesc) error { return s.fs.Remove(s.file(fd)) }

func (s *levelStorage) Rename(from, to storage.FileDesc) error {
	return s.fs.Rename(s.file(from), s.file(to))
}
