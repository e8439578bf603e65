// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// readAll opens an archive, verifies all of it, and returns its blocks.
func readAll(path string) (list []*Block, chain Chain, err error) {
	archive, err := Open(path)
	if err != nil {
		return nil, chain, err
	}
	defer archive.Close()
	if chain, err = archive.Headers(); err != nil {
		return nil, chain, err
	}
	if entry, ok := parseName(filepath.Base(path)); ok && entry.ID != chain.ID {
		return nil, chain, fmt.Errorf("id %s, name %s", chain.ID, path)
	}
	err = archive.Blocks(context.Background(), func(run []*Block) error {
		list = append(list, run...)
		return nil
	})
	return list, chain, err
}

// TestWriteAndRead reads back what was written, in both formats, before and after the merge and from the middle of a chain.
func TestWriteAndRead(t *testing.T) {
	proofOfWork, merged := blocks(t, 150, false), blocks(t, 5, true)
	before := new(big.Int)
	for _, block := range proofOfWork.blocks[:40] {
		before.Add(before, block.Difficulty())
	}
	for name, c := range map[string]struct {
		format      Format
		src         *memory
		first, last uint64
		td          *big.Int
		hasTD       bool
	}{
		"era1":             {Era1, proofOfWork, 0, 150, new(big.Int), true},
		"era1 from middle": {Era1, proofOfWork, 40, 60, new(big.Int).Set(before), true},
		"ere before merge": {Ere, proofOfWork, 40, 60, new(big.Int).Set(before), true},
		"ere":              {Ere, merged, 0, 5, new(big.Int), false},
	} {
		path := write(t, c.format, c.src, c.first, c.last, c.td)
		list, chain, err := readAll(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		entry, ok := parseName(filepath.Base(path))
		if !ok || entry.ID != chain.ID || entry.Format != c.format || len(list) != int(c.last-c.first+1) || chain.Last != c.src.blocks[c.last].Hash() {
			t.Errorf("%s: %d blocks, chain %+v, name %+v", name, len(list), chain, entry)
		}
		for i, block := range list {
			want := c.src.blocks[int(c.first)+i]
			if block.Hash() != want.Hash() || !sameRLP(block.Block, want) || !sameRLP(block.Receipts, c.src.receipts[int(c.first)+i]) {
				t.Errorf("%s: block %d differs", name, want.Number())
			}
			if (block.TotalDifficulty != nil) != c.hasTD {
				t.Errorf("%s: block %d has total difficulty %v", name, want.Number(), block.TotalDifficulty)
			}
		}
		if last := list[len(list)-1]; c.hasTD && last.TotalDifficulty.Cmp(c.td) != 0 {
			t.Errorf("%s: total difficulty %d, want %d", name, last.TotalDifficulty, c.td)
		}
	}
	if _, err := Write(new(bytes.Buffer), Era1, merged, 1, 5, new(big.Int)); err == nil || !strings.Contains(err.Error(), "after the merge") {
		t.Errorf("era1 after the merge: %v", err)
	}
	if _, err := Write(new(bytes.Buffer), Ere, merged, 1, 6, new(big.Int)); err == nil || !strings.Contains(err.Error(), "block #6 not found") {
		t.Errorf("a block that is missing: %v", err)
	}
}

func sameRLP(a, b any) bool {
	x, errX := rlp.EncodeToBytes(a)
	y, errY := rlp.EncodeToBytes(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// TestTransition: an archive over the merge has an accumulator of the blocks before it.
func TestTransition(t *testing.T) {
	src := blocks(t, 3, false)
	header := types.CopyHeader(src.blocks[3].Header())
	header.ParentHash, header.Number, header.Difficulty = src.blocks[3].Hash(), big.NewInt(4), new(big.Int)
	header.TxHash, header.ReceiptHash = types.EmptyTxsHash, types.EmptyReceiptsHash
	src.blocks, src.receipts = append(src.blocks, types.NewBlockWithHeader(header)), append(src.receipts, nil)
	path := write(t, Ere, src, 0, 4, new(big.Int))
	list, _, err := readAll(path)
	if err != nil || len(list) != 5 || list[4].TotalDifficulty.Cmp(list[3].TotalDifficulty) != 0 {
		t.Fatalf("%d blocks, %v", len(list), err)
	}
	src.blocks[2], src.blocks[4] = src.blocks[4], src.blocks[2]
	if _, err := Write(new(bytes.Buffer), Ere, src, 0, 4, new(big.Int)); err == nil {
		t.Error("a proof-of-work block after the merge was written")
	}
}

// TestEveryDamage changes every byte, and cuts the file in many places: the archive is refused, or what is read is right.
func TestEveryDamage(t *testing.T) {
	for format, src := range map[Format]*memory{Era1: blocks(t, 3, false), Ere: blocks(t, 3, true)} {
		path := write(t, format, src, 0, 3, new(big.Int))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		try := func(what string, content []byte) {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				t.Fatal(err)
			}
			list, _, err := readAll(path)
			if err != nil {
				refused++
				return
			}
			if len(list) != 4 {
				t.Errorf("%s, %s: %d blocks", format, what, len(list))
			}
			for i, block := range list {
				if !sameRLP(block.Block, src.blocks[i]) || !sameRLP(block.Receipts, src.receipts[i]) {
					t.Errorf("%s, %s: block %d differs", format, what, i)
				}
			}
		}
		for at := range whole {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 1 << (at % 8)
			try(fmt.Sprintf("byte %d changed", at), damaged)
		}
		if refused < len(whole)*8/10 {
			t.Errorf("%s: %d of %d changes were refused", format, refused, len(whole))
		}
		refused = 0
		cuts := 0
		for at := 0; at < len(whole); at += 7 {
			try(fmt.Sprintf("cut at %d", at), whole[:at])
			cuts++
		}
		if refused != cuts {
			t.Errorf("%s: %d of %d cut files were refused", format, refused, cuts)
		}
	}
}

// TestAccumulator compares with a hash tree that is computed as the specification of SSZ says, over all leaves.
func TestAccumulator(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, EpochBlocks} {
		var acc accumulator
		leaves := make([]common.Hash, EpochBlocks)
		for i := range n {
			hash, td := common.BigToHash(big.NewInt(int64(i))), big.NewInt(int64(i)<<40)
			if err := acc.add(hash, td); err != nil {
				t.Fatal(err)
			}
			var little [32]byte
			for j, b := range td.FillBytes(make([]byte, 32)) {
				little[31-j] = b
			}
			leaves[i] = sha256.Sum256(append(hash[:], little[:]...))
		}
		for len(leaves) > 1 {
			for i := range len(leaves) / 2 {
				leaves[i] = sha256.Sum256(append(leaves[2*i][:], leaves[2*i+1][:]...))
			}
			leaves = leaves[:len(leaves)/2]
		}
		length := [32]byte{byte(n), byte(n >> 8)}
		if want := common.Hash(sha256.Sum256(append(leaves[0][:], length[:]...))); acc.root() != want {
			t.Errorf("%d records: %x, want %x", n, acc.root(), want)
		}
	}
	if err := new(accumulator).add(common.Hash{}, new(big.Int).Lsh(common.Big1, 256)); err == nil {
		t.Error("a total difficulty of 257 bits was added")
	}
}

// TestReadDir sorts archives and says what is wrong with a directory.
func TestReadDir(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		files     []string
		checksums string
		network   string
		want      string // error, or the number of archives
	}{
		"one network":    {[]string{"x-00000-01234567.era1", "x-00001-89abcdef.era1", "notes.txt", "x-1.era1"}, "", "", "2"},
		"ere profile":    {[]string{"x-00003-01234567-noproofs.ere", "x-00004-01234567.ere"}, "", "x", "2"},
		"several":        {[]string{"x-00000-01234567.era1", "y-00000-01234567.era1"}, "", "", "several networks"},
		"chosen":         {[]string{"x-00000-01234567.era1", "y-00000-01234567.era1"}, "", "y", "1"},
		"none":           {nil, "", "", "no era1 or ere archives"},
		"none of one":    {[]string{"x-00000-01234567.era1"}, "", "y", "of network y"},
		"missing":        {[]string{"x-00000-01234567.era1", "x-00002-01234567.era1"}, "", "", "missing epoch 1"},
		"twice":          {[]string{"x-00000-01234567.era1", "x-00000-11234567.era1"}, "", "", "two archives of epoch 0"},
		"mixed":          {[]string{"x-00000-01234567.era1", "x-00001-01234567.ere"}, "", "", "era1 and ere"},
		"sums":           {[]string{"x-00000-01234567.era1", "x-00001-01234567.era1"}, "0x" + sum + "\n" + sum, "", "2"},
		"sums by name":   {[]string{"x-00005-01234567.era1"}, sum + " *other.era1\n" + sum + "  x-00005-01234567.era1\n", "", "1"},
		"sums by epoch":  {[]string{"x-00001-01234567.era1"}, strings.Repeat(sum+"\n", 3), "", "1"},
		"sums too few":   {[]string{"x-00000-01234567.era1", "x-00001-01234567.era1"}, sum, "", "1 checksums for 2 archives"},
		"not an archive": {[]string{"x-00000-0123456z.era1", "x-aaaaa-01234567.era1", "x-00000-01234567.era"}, "", "", "no era1 or ere archives"},
	} {
		dir := t.TempDir()
		for _, file := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if c.checksums != "" {
			if err := os.WriteFile(filepath.Join(dir, checksumsFile), []byte(c.checksums), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := ReadDir(dir, c.network)
		if got := fmt.Sprint(len(entries)); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s archives, %v, want %s", name, got, err, c.want)
		}
		for _, entry := range entries {
			if err == nil && (entry.Checksum == "0x"+sum) != (c.checksums != "") {
				t.Errorf("%s: checksum %q", name, entry.Checksum)
			}
		}
	}
}

// FuzzArchive: no file makes the reader panic or take more memory than it may.
func FuzzArchive(f *testing.F) {
	for format, src := range map[Format]*memory{Era1: blocks(f, 2, false), Ere: blocks(f, 2, true)} {
		whole, err := os.ReadFile(write(f, format, src, 0, 2, new(big.Int)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if list, chain, err := readAll(path); err == nil && (len(list) == 0 || list[len(list)-1].Hash() != chain.Last) {
			t.Errorf("%d blocks, %+v", len(list), chain)
		}
	})
}
