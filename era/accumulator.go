// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

// epochDepth is the depth of the hash tree of an epoch: 2^13 records.
var epochDepth = bits.TrailingZeros(EpochBlocks)

// accumulator is the SSZ hash tree root of List[HeaderRecord, 8192], with HeaderRecord{block hash, total difficulty}.
type accumulator struct {
	records []common.Hash
}

// add adds a record. A total difficulty has at most 32 bytes.
func (a *accumulator) add(hash common.Hash, td *big.Int) error {
	if td.BitLen() > 256 {
		return fmt.Errorf("total difficulty has %d bits", td.BitLen())
	}
	a.records = append(a.records, hashPair(hash, littleEndian(td)))
	return nil
}

func (a *accumulator) root() common.Hash {
	layer, zero := slices.Clone(a.records), common.Hash{}
	for range epochDepth {
		next := layer[:0]
		for i := 0; i < len(layer); i += 2 {
			right := zero
			if i+1 < len(layer) {
				right = layer[i+1]
			}
			next = append(next, hashPair(layer[i], right))
		}
		layer, zero = next, hashPair(zero, zero)
	}
	root := zero
	if len(layer) > 0 {
		root = layer[0]
	}
	var length common.Hash
	binary.LittleEndian.PutUint64(length[:], uint64(len(a.records)))
	return hashPair(root, length)
}

func hashPair(left, right common.Hash) common.Hash {
	return sha256.Sum256(append(left[:len(left):len(left)], right[:]...))
}

// littleEndian is a uint256 in SSZ.
func littleEndian(n *big.Int) (b common.Hash) {
	n.FillBytes(b[:])
	slices.Reverse(b[:])
	return b
}

func fromLittleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}
