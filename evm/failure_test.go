// SPDX-License-Identifier: LGPL-3.0-or-later

package evm_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var errFailed = errors.New("the test failed this fetch")

// faulty answers from a witness and stores what it answers. It fails or corrupts the fetch (node, code or
// header) whose number is at.
type faulty struct {
	file    *witnessfile.File
	store   *trie.Cache
	at      int64 // counted from 1; 0 for none
	corrupt bool  // corrupt the reply instead of failing the fetch
	count   atomic.Int64
}

func newFaulty(file *witnessfile.File, at int64, corrupt bool) *faulty {
	return &faulty{file: file, store: trie.NewCache(64<<20, nil), at: at, corrupt: corrupt}
}

// reply counts a fetch and returns its result.
func (f *faulty) reply(blob []byte, err error) ([]byte, error) {
	n := f.count.Add(1)
	if err != nil || n != f.at {
		return blob, err
	}
	if !f.corrupt {
		return nil, errFailed
	}
	blob = bytes.Clone(blob)
	blob[int(n)*7919%len(blob)] ^= 1 << (n % 8)
	return blob, nil
}

func (f *faulty) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	blob, err := f.reply(f.file.FetchNode(ctx, fault))
	if err == nil {
		err = f.store.PutNodes([]trie.Node{{Owner: fault.Owner, Path: fault.Path, Hash: fault.Hash, Blob: blob}})
	}
	return blob, err
}

func (f *faulty) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	code, err := f.reply(f.file.FetchCode(ctx, hash))
	if err == nil {
		err = f.store.PutCode(hash, code)
	}
	return code, err
}

func (f *faulty) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	header, err := f.file.Header(ctx, hash, number)
	if f.count.Add(1) != f.at {
		return header, err
	}
	if !f.corrupt {
		return nil, errFailed
	}
	header = types.CopyHeader(header)
	header.Extra = append(header.Extra, 0)
	return header, nil
}

// run executes the file's block on the faulty source.
func (f *faulty) run(ctx context.Context, executor *evm.Executor) *evm.Result {
	return executor.Execute(ctx, evm.Job{
		Block:   f.file.Block,
		Parent:  f.file.Parent,
		State:   trie.Open(ctx, f.file.PreRoot, f.store, f),
		Headers: f,
	})
}

// failureBlocks are small and cover different rules: pre-Byzantium receipts with
// intermediate roots, the DAO fork, Cancun, Prague (with BLOCKHASH), Osaka.
var failureBlocks = []string{"1-1150000", "1-1920000", "1-2675000", "1-21688509", "560048-974567", "1-25134887"}

// TestEveryFailedFetch fails or corrupts the k-th fetch for every k. The block is valid, so the outcome is
// always Incomplete.
func TestEveryFailedFetch(t *testing.T) {
	for _, name := range failureBlocks {
		t.Run(name, func(t *testing.T) {
			file := load(t, name)
			executor := evm.NewExecutor(file.Config)
			whole := newFaulty(file, 0, false)
			if result := whole.run(t.Context(), executor); result.Outcome != evm.Valid {
				t.Fatalf("without failure: %v: %v", result.Outcome, result.Err)
			}
			total, step := whole.count.Load(), int64(1)
			if testing.Short() {
				step = max(1, total/24)
			}
			for k := int64(1); k <= total; k += step {
				for _, corrupt := range []bool{false, true} {
					source := newFaulty(file, k, corrupt)
					result := source.run(t.Context(), executor)
					if result.Outcome != evm.Incomplete {
						t.Fatalf("fetch %d of %d (corrupted: %v): %v: %v", k, total, corrupt, result.Outcome, result.Err)
					}
					if want := map[bool]error{false: errFailed, true: trie.ErrWrongBlob}[corrupt]; !errors.Is(result.Err, want) {
						t.Fatalf("fetch %d of %d (corrupted: %v): %v", k, total, corrupt, result.Err)
					}
				}
			}
			t.Logf("%d fetches", total)
		})
	}
}
