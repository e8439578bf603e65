// SPDX-License-Identifier: LGPL-3.0-or-later

// Package blockfile reads and writes files of blocks as geth's import and export have them: the RLP of one block after
// the other, in gzip if the name of the file ends in .gz.
package blockfile

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

// bufferSize is that of what is read and written, in bytes.
const bufferSize = 1 << 20

func isZipped(name string) bool { return strings.HasSuffix(name, ".gz") }

// Reader reads the blocks of a file.
type Reader struct {
	file   *os.File
	stream *rlp.Stream
}

// Open opens a file to read.
func Open(name string) (*Reader, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	var from io.Reader = bufio.NewReaderSize(file, bufferSize)
	if isZipped(name) {
		if from, err = gzip.NewReader(from); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return &Reader{file, rlp.NewStream(from, 0)}, nil
}

// Next returns the next block. The error is [io.EOF] after the last one.
func (r *Reader) Next() (*types.Block, error) {
	block := new(types.Block)
	if err := r.stream.Decode(block); err != nil {
		return nil, err
	}
	return block, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Writer writes blocks.
type Writer struct {
	out    io.Writer
	zip    *gzip.Writer // nil: not zipped
	buffer *bufio.Writer
}

// NewWriter writes what a file of a name has.
func NewWriter(file io.Writer, name string) *Writer {
	w := &Writer{buffer: bufio.NewWriterSize(file, bufferSize)}
	w.out = w.buffer
	if isZipped(name) {
		w.zip = gzip.NewWriter(w.buffer)
		w.out = w.zip
	}
	return w
}

// Write writes a block.
func (w *Writer) Write(block *types.Block) error { return block.EncodeRLP(w.out) }

// Close writes what is left. It does not close the file.
func (w *Writer) Close() (err error) {
	if w.zip != nil {
		err = w.zip.Close()
	}
	return errors.Join(err, w.buffer.Flush())
}
