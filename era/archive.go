// SPDX-License-Identifier: LGPL-3.0-or-later

package era

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// maxComponents is how many entries a block may have in an index.
const maxComponents = 8

// Archive is an open era1 or ere file. Its methods may be called concurrently.
type Archive struct {
	file       *os.File
	size       int64
	format     Format
	index      int64 // offset of its entry
	first      uint64
	count      int
	components int               // entries of a block in the index
	slots      map[entryType]int // which of them is which
}

// Block is one block of an archive.
type Block struct {
	*types.Block
	Receipts        types.Receipts
	TotalDifficulty *big.Int // nil in an archive without
}

// Open opens an archive. The index decides which format it has.
func Open(path string) (*Archive, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a := &Archive{file: file}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, file.Close()))
	}
	return a, nil
}

func (a *Archive) open() error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	a.size = info.Size()
	if _, err := valueAt(a.file, 0, a.size, typeVersion); err != nil {
		return fmt.Errorf("no e2store file: %w", err)
	}
	if err := a.readIndex(); err != nil {
		return fmt.Errorf("no index at the end, the file may be cut: %w", err)
	}
	return a.findSlots()
}

// readIndex reads the numbers of the index. It ends with the file: the number of blocks is its last word, before which an ere file has
// that of components.
func (a *Archive) readIndex() error {
	last, err := a.words(a.size-16, 2)
	if err != nil {
		return err
	}
	for _, try := range []struct {
		format     Format
		kind       entryType
		components uint64
		numbers    int64 // words other than offsets
	}{{Era1, typeIndex, 1, 2}, {Ere, typeDynamicIndex, last[0], 3}} {
		count := last[1]
		if count == 0 || count > EpochBlocks || try.components == 0 || try.components > maxComponents {
			continue
		}
		length := 8 * (int64(count*try.components) + try.numbers)
		kind, have, err := entryHeadAt(a.file, a.size-entryHead-length, a.size)
		if err != nil || kind != try.kind || have != length {
			continue
		}
		a.format, a.index, a.count, a.components = try.format, a.size-entryHead-length, int(count), int(try.components)
		first, err := a.words(a.index+entryHead, 1)
		if err == nil && first[0] > 1<<62 {
			err = fmt.Errorf("first block is %d", first[0])
		}
		if err == nil {
			a.first = first[0]
		}
		return err
	}
	return errors.New("neither that of an era1 nor of an ere file")
}

// findSlots learns from the first block which of its entries is which.
func (a *Archive) findSlots() error {
	if a.format == Era1 {
		return nil
	}
	a.slots = make(map[entryType]int)
	for slot := range a.components {
		at, err := a.offset(0, slot)
		if err != nil {
			return err
		}
		kind, _, err := entryHeadAt(a.file, at, a.size)
		if err != nil {
			return err
		}
		if _, twice := a.slots[kind]; twice {
			return fmt.Errorf("two entries of type %#04x in the index of a block", uint16(kind))
		}
		a.slots[kind] = slot
	}
	for kind, name := range map[entryType]string{typeHeader: "headers", typeBody: "bodies", typeSlimReceipts: "receipts"} {
		if _, ok := a.slots[kind]; !ok {
			return fmt.Errorf("archive has no %s", name)
		}
	}
	return nil
}

// words reads little-endian numbers.
func (a *Archive) words(at int64, n int) ([]uint64, error) {
	if at < 0 || at > a.size-8*int64(n) {
		return nil, fmt.Errorf("file has only %d bytes", a.size)
	}
	raw := make([]byte, 8*n)
	if _, err := a.file.ReadAt(raw, at); err != nil {
		return nil, err
	}
	words := make([]uint64, n)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return words, nil
}

// offset returns where an entry of the i-th block is.
func (a *Archive) offset(i, slot int) (int64, error) {
	relative, err := a.words(a.index+entryHead+8+8*int64(i*a.components+slot), 1)
	if err != nil {
		return 0, err
	}
	at := a.index + int64(relative[0])
	if at < 0 || at >= a.index {
		return 0, fmt.Errorf("index of block %d points outside of the file", a.first+uint64(i))
	}
	return at, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// Format is that of the file, whatever its name says.
func (a *Archive) Format() Format { return a.format }

// First is the number of the first block.
func (a *Archive) First() uint64 { return a.first }

// Count is the number of blocks.
func (a *Archive) Count() int { return a.count }

// entries are the offsets of the entries of a block. td is -1 in an archive without total difficulties.
type entries struct{ header, body, receipts, td int64 }

func (a *Archive) entries(i int) (e entries, err error) {
	if a.format == Era1 {
		return a.consecutive(i)
	}
	e.td = -1
	for kind, at := range map[entryType]*int64{typeHeader: &e.header, typeBody: &e.body, typeSlimReceipts: &e.receipts, typeTotalDifficulty: &e.td} {
		slot, ok := a.slots[kind]
		if !ok {
			continue
		}
		if *at, err = a.offset(i, slot); err != nil {
			return e, err
		}
	}
	return e, nil
}

// consecutive returns where the entries of a block of an era1 file are: they follow one another.
func (a *Archive) consecutive(i int) (e entries, err error) {
	at, err := a.offset(i, 0)
	if err != nil {
		return e, err
	}
	for _, place := range []*int64{&e.header, &e.body, &e.receipts, &e.td} {
		_, length, err := entryHeadAt(a.file, at, a.size)
		if err != nil {
			return e, err
		}
		*place = at
		at += entryHead + length
	}
	return e, nil
}

// header reads the header of the i-th block, and its total difficulty if the archive has it.
func (a *Archive) header(i int) (*types.Header, *big.Int, error) {
	at, err := a.entries(i)
	if err != nil {
		return nil, nil, err
	}
	header := new(types.Header)
	if err := decodeAt(a.file, at.header, a.size, typeHeader, header); err != nil {
		return nil, nil, err
	}
	if err := header.SanityCheck(); err != nil {
		return nil, nil, err
	}
	if number := a.first + uint64(i); !header.Number.IsUint64() || header.Number.Uint64() != number {
		return nil, nil, fmt.Errorf("the archive has block %d in its place", header.Number)
	}
	if at.td < 0 {
		return header, nil, nil
	}
	td, err := a.totalDifficulty(at.td)
	return header, td, err
}

// Block reads the i-th block. It verifies nothing but that its number is right.
func (a *Archive) Block(i int) (*Block, error) {
	if i < 0 || i >= a.count {
		return nil, fmt.Errorf("archive has %d blocks, no %d-th", a.count, i)
	}
	header, td, err := a.header(i)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", a.first+uint64(i), err)
	}
	var body types.Body
	at, err := a.entries(i)
	if err == nil {
		err = decodeAt(a.file, at.body, a.size, typeBody, &body)
	}
	block := &Block{TotalDifficulty: td}
	if err == nil {
		block.Block = types.NewBlockWithHeader(header).WithBody(body)
		block.Receipts, err = a.receipts(at.receipts)
	}
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", header.Number, err)
	}
	return block, nil
}

func (a *Archive) receipts(at int64) (receipts types.Receipts, err error) {
	if a.format == Era1 {
		err = decodeAt(a.file, at, a.size, typeReceipts, &receipts)
		return receipts, err
	}
	var slims []*types.SlimReceipt
	if err := decodeAt(a.file, at, a.size, typeSlimReceipts, &slims); err != nil {
		return nil, err
	}
	receipts = make(types.Receipts, len(slims))
	for i, receipt := range slims {
		receipts[i] = (*types.Receipt)(receipt)
		receipts[i].Bloom = types.CreateBloom(receipts[i])
	}
	return receipts, nil
}

func (a *Archive) totalDifficulty(at int64) (*big.Int, error) {
	value, err := valueAt(a.file, at, a.size, typeTotalDifficulty)
	if err != nil {
		return nil, err
	}
	if len(value) != common.HashLength {
		return nil, fmt.Errorf("total difficulty has %d bytes", len(value))
	}
	return fromLittleEndian(value), nil
}

// Accumulator returns the accumulator that the archive has; false if it has none.
func (a *Archive) Accumulator() (root common.Hash, ok bool, err error) {
	// It is the entry before the index, unless a later version of the format puts others there.
	at := a.index - entryHead - common.HashLength
	if kind, length, err := entryHeadAt(a.file, at, a.size); err != nil || kind != typeAccumulator || length != common.HashLength {
		if a.format == Era1 {
			return root, false, errors.New("archive has no accumulator before its index")
		}
		return root, false, nil
	}
	value, err := valueAt(a.file, at, a.size, typeAccumulator)
	return common.BytesToHash(value), err == nil, err
}

// check compares body and receipts with the roots in the header.
func (b *Block) check() error {
	header := b.Header()
	if hash := types.CalcUncleHash(b.Uncles()); hash != header.UncleHash {
		return fmt.Errorf("block %d: uncles have hash %x, header says %x", header.Number, hash, header.UncleHash)
	}
	hasher := gethtrie.NewStackTrie(nil)
	if root := types.DeriveSha(b.Transactions(), hasher); root != header.TxHash {
		return fmt.Errorf("block %d: transactions have root %x, header says %x", header.Number, root, header.TxHash)
	}
	if root := types.DeriveSha(b.Receipts, hasher); root != header.ReceiptHash {
		return fmt.Errorf("block %d: receipts have root %x, header says %x", header.Number, root, header.ReceiptHash)
	}
	if len(b.Receipts) != len(b.Transactions()) {
		return fmt.Errorf("block %d: %d receipts for %d transactions", header.Number, len(b.Receipts), len(b.Transactions()))
	}
	switch withdrawals := b.Withdrawals(); {
	case (withdrawals == nil) != (header.WithdrawalsHash == nil):
		return fmt.Errorf("block %d: withdrawals do not belong to the header", header.Number)
	case withdrawals != nil:
		if root := types.DeriveSha(withdrawals, hasher); root != *header.WithdrawalsHash {
			return fmt.Errorf("block %d: withdrawals have root %x, header says %x", header.Number, root, *header.WithdrawalsHash)
		}
	}
	return nil
}
