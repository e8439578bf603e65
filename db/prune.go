// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"context"
	"encoding/binary"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/ethdb"
)

// prunedRange is how many blocks are deleted at a time: between them the deletion can be interrupted.
const prunedRange = 1024

// DeleteBlocks deletes the bodies, receipts, access lists, marks of execution and transaction lookups of the blocks from 1 to
// below, canonical or not. Their headers and the canonical index stay. Nothing is to read them any more, see chain.Chain.Forget.
// An interrupted deletion is completed by the next one. report is called now and then with how far it is.
func (c *Chain) DeleteBlocks(ctx context.Context, below uint64, report func(what string, done uint64)) error {
	if c.frozen {
		return errors.New("old blocks are in files of geth's freezer, which are only read here: prune them with geth")
	}
	for from := uint64(1); from < below; from += prunedRange {
		for _, prefix := range []string{"b", "r", "j", executedPrefix} { // the first three are core/rawdb's
			if err := c.deleteNumbers(ctx, prefix, from, min(below, from+prunedRange)); err != nil {
				return err
			}
		}
		report("blocks", min(below, from+prunedRange)-1)
	}
	if err := c.deleteLookups(ctx, below, report); err != nil {
		return err
	}
	return c.disk.SyncKeyValue()
}

// deleteNumbers deletes the keys of a prefix with the numbers from first to below.
func (c *Chain) deleteNumbers(ctx context.Context, prefix string, first, below uint64) error {
	start, end := binary.BigEndian.AppendUint64([]byte(prefix), first), binary.BigEndian.AppendUint64([]byte(prefix), below)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.disk.DeleteRange(start, end); !errors.Is(err, ethdb.ErrTooManyKeys) {
			return err
		}
	}
}

// deleteLookups deletes those of transactions in blocks below a number: their keys are hashes, so all are read.
func (c *Chain) deleteLookups(ctx context.Context, below uint64, report func(string, uint64)) error {
	limit, b := new(big.Int).SetUint64(below), c.disk.NewBatch()
	it := c.disk.NewIterator([]byte("l"), nil)
	defer it.Release()
	for read := uint64(0); it.Next(); read++ {
		if read%prunedRange == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			report("transactions", read)
		}
		if len(it.Key()) != 1+32 || new(big.Int).SetBytes(it.Value()).Cmp(limit) >= 0 {
			continue
		}
		if err := b.Delete(it.Key()); err != nil {
			return err
		}
		if b.ValueSize() >= ethdb.IdealBatchSize {
			if err := b.Write(); err != nil {
				return err
			}
			b.Reset()
		}
	}
	if err := it.Error(); err != nil {
		return c.disk.health.report(c.disk.path, err)
	}
	return b.Write()
}
