// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"
)

// historyTables are the tables of go-ethereum's freezer of state histories, and the letter that their files' names have:
// c for compressed, r for raw.
var historyTables = map[string]string{
	"history.meta": "r", "account.index": "c", "storage.index": "c", "account.data": "c", "storage.data": "c",
}

// indexEntrySize is the size of an entry in the index of a table: the number of a data file, 2 bytes, and the offset in it
// at which the item ends, 4 bytes, big endian. The first entry has the first data file, and the number of items that
// were removed.
const indexEntrySize = 6

// checkHistories looks for damage in the freezer of state histories before go-ethereum opens it: that would truncate
// the tables to what is left, and end the process if this is less than what the state needs. needed is the number of
// histories that must be there. What a kill tears is beyond them. Nothing is changed.
func checkHistories(dir string, needed uint64) error {
	if needed == 0 {
		return nil // go-ethereum begins anew
	}
	for name, letter := range historyTables {
		if file, err := checkHistoryTable(dir, name, letter, needed); err != nil {
			return fmt.Errorf("state histories are damaged: %s: %w (restore the file, or remove the datadir's geth/chaindata: what it has is fetched again, if peers have it)", filepath.Join(dir, file), err)
		}
	}
	return nil
}

// checkHistoryTable returns the name of a damaged file.
func checkHistoryTable(dir, name, letter string, needed uint64) (file string, err error) {
	file = name + "." + letter + "idx"
	index, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return file, withoutPath(err)
	}
	if len(index) < indexEntrySize {
		return file, errors.New("it is empty")
	}
	number, removed := entryAt(index, 0)
	end, total := uint32(0), uint64(removed)
	ends := make(map[uint16]uint32) // of the data that must be there
	for at := 1; (at+1)*indexEntrySize <= len(index) && total < needed; at++ {
		next, offset := entryAt(index, at)
		if next != number && next != number+1 || next == number && offset < end {
			return file, fmt.Errorf("entry %d does not follow the one before", at)
		}
		number, end = next, offset
		ends[number] = end
		total++
	}
	if total < needed {
		return file, fmt.Errorf("it has %d items, the state needs %d", total, needed)
	}
	for number, end := range ends {
		file := fmt.Sprintf("%s.%04d.%sdat", name, number, letter)
		stat, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			return file, withoutPath(err)
		}
		if stat.Size() < int64(end) {
			return file, fmt.Errorf("it has %d bytes, the index says %d", stat.Size(), end)
		}
	}
	return "", nil
}

func entryAt(index []byte, at int) (number uint16, offset uint32) {
	entry := index[at*indexEntrySize:]
	return binary.BigEndian.Uint16(entry), binary.BigEndian.Uint32(entry[2:])
}

// withoutPath drops the path from an error of package os.
func withoutPath(err error) error {
	if of := new(fs.PathError); errors.As(err, &of) {
		return of.Err
	}
	return err
}

// journaledStateID returns the number of the state below those in memory as the journal of the last orderly shutdown has
// it, 0 if there is none. The journal begins with its version, the root on disk, the root again, and the number.
func journaledStateID(dir string) (id uint64) {
	file, err := os.Open(filepath.Join(dir, "merkle.journal"))
	if err != nil {
		return 0
	}
	defer file.Close()
	stream := rlp.NewStream(file, 0)
	var root common.Hash
	if _, err := stream.Uint64(); err != nil || stream.Decode(&root) != nil || stream.Decode(&root) != nil {
		return 0
	}
	if id, err = stream.Uint64(); err != nil {
		return 0
	}
	return id
}
