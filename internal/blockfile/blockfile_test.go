// SPDX-License-Identifier: LGPL-3.0-or-later

package blockfile

import (
	"bytes"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
)

// TestRoundTrip: the blocks of a file, zipped or not, are those that were written, and then it ends.
func TestRoundTrip(t *testing.T) {
	for _, name := range []string{"chain.rlp", "chain.rlp.gz"} {
		path := filepath.Join(t.TempDir(), name)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w, blocks := NewWriter(file, path), make([]*types.Block, 300)
		for i := range blocks {
			blocks[i] = types.NewBlockWithHeader(&types.Header{Number: big.NewInt(int64(i)), Difficulty: new(big.Int), Extra: make([]byte, i%32)})
			if err := w.Write(blocks[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), file.Close()); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if zipped := bytes.HasPrefix(raw, []byte{0x1f, 0x8b}); zipped != isZipped(name) {
			t.Errorf("%s: zipped %v", name, zipped)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range blocks {
			if got, err := r.Next(); err != nil || got.Hash() != want.Hash() {
				t.Fatalf("%s: block %d: %v", name, i, err)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: after the last block: %v", name, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestBadFiles: a file that is cut, not zipped as its name says, or absent is an error, which is not the end.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"cut.rlp": {0xf9, 0x02, 0x00, 0x01}, "plain.gz": {0xf8, 0x00}, "absent": nil} {
		path := filepath.Join(dir, name)
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Open(path)
		if err == nil {
			_, err = r.Next()
			r.Close()
		}
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
