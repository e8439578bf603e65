// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// EpochBlocks is the number of blocks in an epoch, and the most that an archive has.
const EpochBlocks = 8192

// Format is the format of an archive, and the extension of its name.
type Format string

const (
	Era1 Format = "era1" // proof of work only
	Ere  Format = "ere"
)

// Source has the blocks that are written. What is not stored is nil.
type Source interface {
	Header(number uint64) *types.Header
	Body(header *types.Header) *types.Body
	Receipts(header *types.Header) types.Receipts
}

// Name is the file name of an archive.
func Name(f Format, network string, epoch uint64, id common.Hash) string {
	if f == Ere {
		return fmt.Sprintf("%s-%05d-%x-noproofs.%s", network, epoch, id[:4], f)
	}
	return fmt.Sprintf("%s-%05d-%x.%s", network, epoch, id[:4], f)
}

// archiveWriter writes one archive.
type archiveWriter struct {
	*entryWriter
	src     Source
	headers []*types.Header
	hashes  []common.Hash
	tds     []*big.Int // of each block; the final one after the merge; nil if all blocks are after it
	proven  int        // proof-of-work blocks, which come first
}

// Write writes the archive of blocks first to last, at most EpochBlocks, and returns its id. td is the total difficulty of the block
// before them; it is set to that of the last block.
func Write(w io.Writer, f Format, src Source, first, last uint64, td *big.Int) (id common.Hash, err error) {
	if last < first || last-first >= EpochBlocks {
		return id, fmt.Errorf("an archive has 1 to %d blocks, not those from %d to %d", EpochBlocks, first, last)
	}
	a := &archiveWriter{entryWriter: newEntryWriter(w), src: src}
	if err := a.read(first, last, td); err != nil {
		return id, err
	}
	if _, err := a.write(typeVersion, nil); err != nil {
		return id, err
	}
	switch f {
	case Era1:
		return a.era1(first)
	case Ere:
		return a.hashes[len(a.hashes)-1], a.ere(first)
	}
	return id, fmt.Errorf("unknown archive format %q", f)
}

// read reads the headers.
func (a *archiveWriter) read(first, last uint64, td *big.Int) error {
	for number := first; number <= last; number++ {
		header := a.src.Header(number)
		if header == nil {
			return fmt.Errorf("block #%d not found", number)
		}
		a.headers, a.hashes = append(a.headers, header), append(a.hashes, header.Hash())
		if header.Difficulty.Sign() > 0 {
			if a.proven++; a.proven < len(a.headers) {
				return fmt.Errorf("block %d has a difficulty, the one before it has none", number)
			}
			td.Add(td, header.Difficulty)
		}
		if a.proven > 0 {
			a.tds = append(a.tds, new(big.Int).Set(td))
		}
	}
	return nil
}

func (a *archiveWriter) accumulator() (common.Hash, error) {
	var acc accumulator
	for i, hash := range a.hashes[:a.proven] {
		if err := acc.add(hash, a.tds[i]); err != nil {
			return common.Hash{}, err
		}
	}
	return acc.root(), nil
}

func (a *archiveWriter) body(header *types.Header) (*types.Body, error) {
	body := a.src.Body(header)
	if body == nil {
		return nil, fmt.Errorf("body of block #%d not found", header.Number)
	}
	return body, nil
}

func (a *archiveWriter) receipts(header *types.Header) (types.Receipts, error) {
	receipts := a.src.Receipts(header)
	if receipts == nil && header.ReceiptHash != types.EmptyReceiptsHash {
		return nil, fmt.Errorf("receipts of block #%d not found", header.Number)
	}
	return receipts, nil
}

// era1 writes block by block, then the accumulator.
func (a *archiveWriter) era1(first uint64) (root common.Hash, err error) {
	if a.proven < len(a.headers) {
		return root, fmt.Errorf("block %d is after the merge, where era1 archives end: write ere archives (--era.format ere)", a.headers[a.proven].Number)
	}
	offsets := make([]int64, len(a.headers))
	for i, header := range a.headers {
		if offsets[i], err = a.compress(typeHeader, header); err != nil {
			return root, err
		}
		body, err := a.body(header)
		if err != nil {
			return root, err
		}
		if _, err = a.compress(typeBody, body); err != nil {
			return root, err
		}
		receipts, err := a.receipts(header)
		if err != nil {
			return root, err
		}
		if _, err = a.compress(typeReceipts, receipts); err != nil {
			return root, err
		}
		td := littleEndian(a.tds[i])
		if _, err = a.write(typeTotalDifficulty, td[:]); err != nil {
			return root, err
		}
	}
	if root, err = a.accumulator(); err != nil {
		return root, err
	}
	if _, err = a.write(typeAccumulator, root[:]); err != nil {
		return root, err
	}
	return root, a.index(typeIndex, first, [][]int64{offsets}, uint64(len(offsets)))
}

// ere writes component by component, then the accumulator of the blocks before the merge, if there are any.
func (a *archiveWriter) ere(first uint64) error {
	components := make([][]int64, 3, 4)
	for i, write := range []func(*types.Header) (int64, error){
		func(header *types.Header) (int64, error) { return a.compress(typeHeader, header) },
		func(header *types.Header) (int64, error) {
			body, err := a.body(header)
			if err != nil {
				return 0, err
			}
			return a.compress(typeBody, body)
		},
		func(header *types.Header) (int64, error) {
			receipts, err := a.receipts(header)
			if err != nil {
				return 0, err
			}
			return a.compress(typeSlimReceipts, slim(receipts))
		},
	} {
		for _, header := range a.headers {
			at, err := write(header)
			if err != nil {
				return err
			}
			components[i] = append(components[i], at)
		}
	}
	if len(a.tds) > 0 {
		var offsets []int64
		for _, td := range a.tds {
			encoded := littleEndian(td)
			at, err := a.write(typeTotalDifficulty, encoded[:])
			if err != nil {
				return err
			}
			offsets = append(offsets, at)
		}
		root, err := a.accumulator()
		if err != nil {
			return err
		}
		if _, err := a.write(typeAccumulator, root[:]); err != nil {
			return err
		}
		components = append(components, offsets)
	}
	return a.index(typeDynamicIndex, first, components, uint64(len(components)), uint64(len(a.headers)))
}

// index writes where the entries of each block are, relative to the index, and after that some numbers.
func (a *archiveWriter) index(kind entryType, first uint64, components [][]int64, numbers ...uint64) error {
	value := binary.LittleEndian.AppendUint64(nil, first)
	for i := range components[0] {
		for _, offsets := range components {
			value = binary.LittleEndian.AppendUint64(value, uint64(offsets[i]-a.written))
		}
	}
	for _, number := range numbers {
		value = binary.LittleEndian.AppendUint64(value, number)
	}
	_, err := a.write(kind, value)
	return err
}

func slim(receipts types.Receipts) []*types.SlimReceipt {
	converted := make([]*types.SlimReceipt, len(receipts))
	for i, receipt := range receipts {
		converted[i] = (*types.SlimReceipt)(receipt)
	}
	return converted
}
