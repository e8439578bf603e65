// SPDX-License-Identifier: LGPL-3.0-or-later

package witnessfile_test

import (
	"context"
	"errors"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var errNoHeader = errors.New("the test has no headers")

type noHeaders struct{}

func (noHeaders) Header(context.Context, common.Hash, uint64) (*types.Header, error) {
	return nil, errNoHeader
}

// orphan is a file that lacks the parent's header: it has number and state root only.
func orphan(t *testing.T, name string) *witnessfile.File {
	t.Helper()
	file, err := witnessfile.Load(blockPath(t, name))
	if err != nil {
		t.Fatal(err)
	}
	without := *file
	without.HasParent = false
	without.Parent = &types.Header{Number: file.Parent.Number, Root: file.PreRoot, Difficulty: new(big.Int)}
	return &without
}

// TestStandInParent executes blocks of several forks without their parent's header.
func TestStandInParent(t *testing.T) {
	for name, want := range map[string]evm.Outcome{
		"1-17106222":    evm.Valid,
		"1-21688509":    evm.Valid,
		"1-22615247":    evm.Valid, // EIP-2935 stores the parent's hash
		"1-25134887":    evm.Valid,
		"560048-974567": evm.Incomplete, // BLOCKHASH of the grandparent and older
		"1-9069000":     evm.Incomplete,
	} {
		t.Run(name, func(t *testing.T) {
			file := orphan(t, name)
			db := trie.Open(t.Context(), file.PreRoot, nil, file)
			result := file.Execute(t.Context(), evm.NewExecutor(file.Config), db, noHeaders{})
			if result.Outcome != want || want == evm.Incomplete && !errors.Is(result.Err, errNoHeader) {
				t.Errorf("%v: %v", result.Outcome, result.Err)
			}
			if want == evm.Valid && result.GasUsed != file.Block.GasUsed() {
				t.Errorf("used %d gas, want %d", result.GasUsed, file.Block.GasUsed())
			}
		})
	}
}

// TestStandInParentOfInvalidBlock executes a block with a wrong state root, and the same without a
// node that it reads.
func TestStandInParentOfInvalidBlock(t *testing.T) {
	file := orphan(t, "1-22615247")
	header := file.Block.Header()
	header.Root[0] ^= 1
	file.Block = file.Block.WithSeal(header)
	executor := evm.NewExecutor(file.Config)
	if result := file.Execute(t.Context(), executor, trie.Open(t.Context(), file.PreRoot, nil, file), noHeaders{}); result.Outcome != evm.Invalid {
		t.Errorf("%v: %v", result.Outcome, result.Err)
	}
	file.Nodes = map[common.Hash][]byte{file.PreRoot: file.Nodes[file.PreRoot]}
	result := file.Execute(t.Context(), executor, trie.Open(t.Context(), file.PreRoot, nil, file), noHeaders{})
	if result.Outcome != evm.Incomplete || !errors.Is(result.Err, trie.ErrUnavailable) {
		t.Errorf("%v: %v", result.Outcome, result.Err)
	}
}
