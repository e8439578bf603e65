// SPDX-License-Identifier: LGPL-3.0-or-later

// Package jsonhex encodes bytes as the JSON-RPC of Ethereum does: a string of "0x" and two hexadecimal digits for each byte.
// It appends to a buffer, so that what has megabytes of blobs is encoded in one allocation and without reflection.
package jsonhex

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// digits are the two characters of each byte, in the order of memory. One look-up for each byte takes a fraction of the time of
// encoding/hex, which looks up each digit.
var digits = func() (table [256]uint16) {
	const hex = "0123456789abcdef"
	for i := range table {
		table[i] = uint16(hex[i>>4]) | uint16(hex[i&15])<<8
	}
	return table
}()

// Size is the length of n encoded bytes.
func Size(n int) int { return len(`"0x"`) + 2*n }

// ListSize is the length of an encoded list, the comma after it included.
func ListSize[T ~[]byte](items []T) int {
	size := len("[],")
	for _, item := range items {
		size += Size(len(item)) + len(",")
	}
	return size
}

// Append appends bytes; nil is encoded as no bytes.
func Append(out, data []byte) []byte {
	out = append(out, `"0x`...)
	begin := len(out)
	out = slices.Grow(out, 2*len(data)+1)[:begin+2*len(data)]
	text := out[begin:]
	for i, b := range data {
		binary.LittleEndian.PutUint16(text[2*i:], digits[b])
	}
	return append(out, '"')
}

// AppendList appends an array of bytes; nil is encoded as an empty one.
func AppendList[T ~[]byte](out []byte, items []T) []byte {
	out = append(out, '[')
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = Append(out, item)
	}
	return append(out, ']')
}

// AppendUint appends a quantity: without leading zeros.
func AppendUint(out []byte, n uint64) []byte {
	return append(strconv.AppendUint(append(out, `"0x`...), n, 16), '"')
}
