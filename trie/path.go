package trie

import "github.com/ethereum/go-ethereum/common"

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

// CompactPath returns the hex-prefix encoding (Yellow Paper, appendix C) of a path
// that ends at a node, not at a value: without the terminator flag, as GetTrieNodes
// of snap/1 wants it. Nibbles must be below 16.
func CompactPath(nibbles []byte) []byte {
	compact := make([]byte, len(nibbles)/2+1)
	if len(nibbles)%2 == 1 {
		compact[0] = 0x10 | nibbles[0]
		nibbles = nibbles[1:]
	}
	for i := 0; i < len(nibbles); i += 2 {
		compact[1+i/2] = nibbles[i]<<4 | nibbles[i+1]
	}
	return compact
}

// expandPath decodes a hex-prefix path into buf and reports its length in nibbles
// and whether it ends at a value. ok is false if the encoding is not canonical or
// longer than a key.
func expandPath(compact []byte, buf *[KeyLen]byte) (n int, leaf, ok bool) {
	if len(compact) == 0 || len(compact) > KeyLen/2+1 || compact[0] > 0x3f {
		return 0, false, false
	}
	leaf = compact[0]&0x20 != 0
	if compact[0]&0x10 != 0 {
		if len(compact) == KeyLen/2+1 {
			return 0, false, false
		}
		buf[0], n = compact[0]&0x0f, 1
	} else if compact[0]&0x0f != 0 {
		return 0, false, false
	}
	for _, b := range compact[1:] {
		buf[n], buf[n+1] = b>>4, b&0x0f
		n += 2
	}
	return n, leaf, true
}
