// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/golang/snappy"
)

// entryType is the type of an entry of an e2store file.
type entryType uint16

const (
	typeVersion         entryType = 0x3265 // "e2"
	typeHeader          entryType = 0x03
	typeBody            entryType = 0x04
	typeReceipts        entryType = 0x05
	typeTotalDifficulty entryType = 0x06
	typeAccumulator     entryType = 0x07
	typeSlimReceipts    entryType = 0x0a // without blooms, as in eth/69
	typeProof           entryType = 0x0b
	typeIndex           entryType = 0x3266 // of an era1 file
	typeDynamicIndex    entryType = 0x3267 // of an ere file
)

const (
	entryHead = 8 // bytes: type, length, reserved
	// maxEntry and maxValue are the most bytes of an entry, as in go-ethereum, and of what it decompresses to.
	maxEntry = 50 << 20
	maxValue = 256 << 20
)

// entryWriter writes entries and counts their bytes.
type entryWriter struct {
	w       io.Writer
	written int64
	buf     bytes.Buffer
	snappy  *snappy.Writer
}

func newEntryWriter(w io.Writer) *entryWriter { return &entryWriter{w: w} }

// write writes an entry and returns its offset.
func (e *entryWriter) write(kind entryType, value []byte) (at int64, err error) {
	at = e.written
	head := make([]byte, entryHead)
	binary.LittleEndian.PutUint16(head, uint16(kind))
	binary.LittleEndian.PutUint32(head[2:], uint32(len(value)))
	for _, part := range [][]byte{head, value} {
		n, err := e.w.Write(part)
		e.written += int64(n)
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

// compress writes an entry with the RLP of a value in the framing format of snappy.
func (e *entryWriter) compress(kind entryType, value any) (at int64, err error) {
	encoded, err := rlp.EncodeToBytes(value)
	if err != nil {
		return 0, err
	}
	e.buf.Reset()
	if e.snappy == nil {
		e.snappy = snappy.NewBufferedWriter(&e.buf)
	} else {
		e.snappy.Reset(&e.buf)
	}
	if _, err := e.snappy.Write(encoded); err != nil {
		return 0, err
	}
	if err := e.snappy.Flush(); err != nil {
		return 0, err
	}
	return e.write(kind, e.buf.Bytes())
}

// entryHeadAt reads type and length of the entry at an offset.
func entryHeadAt(r io.ReaderAt, at, size int64) (kind entryType, length int64, err error) {
	head := make([]byte, entryHead)
	if at < 0 || at > size-entryHead {
		return 0, 0, fmt.Errorf("no entry at offset %d of %d bytes", at, size)
	}
	if _, err := r.ReadAt(head, at); err != nil {
		return 0, 0, err
	}
	kind, length = entryType(binary.LittleEndian.Uint16(head)), int64(binary.LittleEndian.Uint32(head[2:]))
	switch {
	case binary.LittleEndian.Uint16(head[6:]) != 0:
		return 0, 0, fmt.Errorf("no entry at offset %d: reserved bytes are not zero", at)
	case length > maxEntry:
		return 0, 0, fmt.Errorf("entry at offset %d has %d bytes, at most %d are read", at, length, maxEntry)
	case length > size-at-entryHead:
		return 0, 0, fmt.Errorf("entry at offset %d has %d bytes, and the file only %d more", at, length, size-at-entryHead)
	}
	return kind, length, nil
}

// valueAt reads the value of the entry at an offset.
func valueAt(r io.ReaderAt, at, size int64, want entryType) ([]byte, error) {
	kind, length, err := entryHeadAt(r, at, size)
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, fmt.Errorf("entry at offset %d has type %#04x, want %#04x", at, uint16(kind), uint16(want))
	}
	value := make([]byte, length)
	if _, err := r.ReadAt(value, at+entryHead); err != nil && !(errors.Is(err, io.EOF) && length == 0) {
		return nil, err
	}
	return value, nil
}

// decodeAt decodes the value of a compressed entry.
func decodeAt(r io.ReaderAt, at, size int64, want entryType, into any) error {
	value, err := valueAt(r, at, size, want)
	if err != nil {
		return err
	}
	plain := &io.LimitedReader{R: snappy.NewReader(bytes.NewReader(value)), N: maxValue}
	encoded, err := io.ReadAll(plain)
	if err != nil {
		return fmt.Errorf("entry at offset %d: %w", at, err)
	}
	if plain.N == 0 {
		return fmt.Errorf("entry at offset %d decompresses to more than %d bytes", at, maxValue)
	}
	if err := rlp.DecodeBytes(encoded, into); err != nil {
		return fmt.Errorf("entry at offset %d: %w", at, err)
	}
	return nil
}
