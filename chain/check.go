// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethtrie "github.com/ethereum/go-ethereum/trie"
)

// Check walks the canonical chain from head to tail and verifies the invariants of the package comment, and
// blocks and receipts against the commitments in the headers. It reads everything: it is for tests and
// for the inspection of a database.
func (c *Chain) Check() error {
	v := c.snapshot.Load()
	number := v.head.Number.Uint64()
	if c.Status(v.Head) != Executed {
		return fmt.Errorf("head %d: %w", number, ErrNotExecuted)
	}
	if v.Tail > v.Oldest || v.Oldest > number {
		return fmt.Errorf("tail %d, oldest %d, head %d", v.Tail, v.Oldest, number)
	}
	_, imported := v.segmentTail(number + 1)
	if above := c.store.CanonicalHash(number + 1); above != (common.Hash{}) && !imported {
		return fmt.Errorf("canonical block %d above head %d", number+1, number)
	}
	for _, segment := range v.segments {
		if err := c.checkSegment(segment); err != nil {
			return fmt.Errorf("segment %+v: %w", segment, err)
		}
	}
	for want := v.Head; ; number-- {
		if have := c.store.CanonicalHash(number); have != want {
			return fmt.Errorf("canonical block %d is %x, want %x", number, have, want)
		}
		header := c.store.Header(want, number)
		if header == nil {
			return fmt.Errorf("header %d: %w", number, ErrUnknownBlock)
		}
		if header.Hash() != want {
			return fmt.Errorf("header %d has hash %x, want %x", number, header.Hash(), want)
		}
		if number >= v.Oldest {
			if err := c.checkBlock(want); err != nil {
				return fmt.Errorf("block %d: %w", number, err)
			}
		}
		if number == v.Tail {
			return nil
		}
		want = header.ParentHash
	}
}

func (c *Chain) checkSegment(segment Segment) error {
	for number := segment.Top; ; number-- {
		hash := c.store.CanonicalHash(number)
		header := c.store.Header(hash, number)
		if header == nil {
			return fmt.Errorf("header %d: %w", number, ErrUnknownBlock)
		}
		if number >= segment.Oldest && !c.complete(header) {
			return fmt.Errorf("block %d is not complete", number)
		}
		if number == segment.Tail {
			return nil
		}
		if below := c.store.CanonicalHash(number - 1); below != header.ParentHash {
			return fmt.Errorf("canonical block %d is %x, want %x", number-1, below, header.ParentHash)
		}
	}
}

func (c *Chain) checkBlock(hash common.Hash) error {
	block := c.Block(hash)
	if block == nil {
		return errors.New("body is missing")
	}
	if root := types.DeriveSha(block.Transactions(), gethtrie.NewStackTrie(nil)); root != block.TxHash() {
		return fmt.Errorf("transaction root %x, want %x", root, block.TxHash())
	}
	receipts := c.Receipts(hash)
	if receipts == nil {
		return errors.New("receipts are missing")
	}
	if root := types.DeriveSha(receipts, gethtrie.NewStackTrie(nil)); root != block.ReceiptHash() {
		return fmt.Errorf("receipts root %x, want %x", root, block.ReceiptHash())
	}
	for _, tx := range block.Transactions() {
		if found, _, _, _ := c.Transaction(tx.Hash()); found == nil {
			return fmt.Errorf("transaction %x has no lookup", tx.Hash())
		}
	}
	return nil
}
