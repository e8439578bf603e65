// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
)

// KeyLen is the length of a key in nibbles: keys are keccak256 hashes.
const KeyLen = 2 * common.HashLength

// Nibbles returns the 64 nibbles of key, one per byte, most significant first.
func Nibbles(key common.Hash) []byte {
	nibbles := make([]byte, KeyLen)
	for i, b := range key {
		nibbles[2*i], nibbles[2*i+1] = b>>4, b&0x0f
	}
	return nibbles
}

// ErrMalformedPath says that bytes are not the canonical hex-prefix encoding of a path.
var ErrMalformedPath = errors.New("malformed hex-prefix path")

// Flags in the first nibble of the hex-prefix encoding (Yellow Paper, appendix C).
const (
	flagOdd  = 0x10 // the second nibble of the first byte is part of the path
	flagLeaf = 0x20 // the path ends at a value: the terminator
)

// EncodePath returns the hex-prefix encoding (Yellow Paper, appendix C) of a path that ends at
// a node, not at a value: without the terminator flag, as GetTrieNodes of snap/1 wants it.
// Nibbles must be below 16. [DecodePath] is the inverse.
func EncodePath(nibbles []byte) []byte {
	compact := make([]byte, len(nibbles)/2+1)
	if len(nibbles)%2 == 1 {
		compact[0] = flagOdd | nibbles[0]
		nibbles = nibbles[1:]
	}
	for i := 0; i < len(nibbles); i += 2 {
		compact[1+i/2] = nibbles[i]<<4 | nibbles[i+1]
	}
	return compact
}

// DecodePath returns the nibbles of a path to a node, at most [KeyLen] of them. The error wraps
// [ErrMalformedPath]: the encoding is empty, is not canonical, has the terminator flag, or is
// longer than a key. The result shares no memory with compact.
func DecodePath(compact []byte) ([]byte, error) {
	var buf [KeyLen]byte
	n, isLeaf, ok := decodePath(compact, &buf)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w %x", ErrMalformedPath, compact)
	case isLeaf:
		return nil, fmt.Errorf("%w %x: it has the terminator flag", ErrMalformedPath, compact)
	}
	return append([]byte{}, buf[:n]...), nil
}

// decodePath decodes the path of a leaf or of an extension into buf. It reports the length in
// nibbles and whether the path ends at a value. ok is false if the encoding is not canonical or
// longer than a key. It does not allocate: every node that is read passes through here.
func decodePath(compact []byte, buf *[KeyLen]byte) (n int, isLeaf, ok bool) {
	if len(compact) == 0 || len(compact) > KeyLen/2+1 || compact[0] > flagOdd|flagLeaf|0x0f {
		return 0, false, false
	}
	isLeaf = compact[0]&flagLeaf != 0
	switch {
	case compact[0]&flagOdd == 0:
		if compact[0]&0x0f != 0 { // padding
			return 0, false, false
		}
	case len(compact) == KeyLen/2+1:
		return 0, false, false
	default:
		buf[0], n = compact[0]&0x0f, 1
	}
	for _, b := range compact[1:] {
		buf[n], buf[n+1] = b>>4, b&0x0f
		n += 2
	}
	return n, isLeaf, true
}
