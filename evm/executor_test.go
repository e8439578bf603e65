// SPDX-License-Identifier: LGPL-3.0-or-later

package evm_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// reseal returns the file's block with a changed header.
func reseal(block *types.Block, change func(*types.Header)) *types.Block {
	header := block.Header()
	change(header)
	return block.WithSeal(header)
}

func execute(ctx context.Context, file *witnessfile.File, block *types.Block, parent *types.Header, headers evm.Headers) *evm.Result {
	return evm.NewExecutor(file.Config).Execute(ctx, evm.Job{
		Block:   block,
		Parent:  parent,
		State:   trie.Open(ctx, parent.Root, file, file),
		Headers: headers,
	})
}

// TestWrongHeader changes fields that the header commits to: the block is invalid, and the execution reads
// nothing more than before.
func TestWrongHeader(t *testing.T) {
	changes := map[string]func(*types.Header){
		"state root":    func(h *types.Header) { h.Root[3] ^= 1 },
		"gas used":      func(h *types.Header) { h.GasUsed++ },
		"receipts root": func(h *types.Header) { h.ReceiptHash[31] ^= 0x80 },
		"bloom":         func(h *types.Header) { h.Bloom[100] ^= 4 },
		"requests hash": func(h *types.Header) { h.RequestsHash = &common.Hash{1} },
		"coinbase":      func(h *types.Header) { h.Coinbase = common.Address{0xde, 0xad} },
		"base fee":      func(h *types.Header) { h.BaseFee = new(big.Int).Add(h.BaseFee, big.NewInt(1e12)) },
	}
	for _, name := range []string{"1-22615247", "560048-974567", "1-25134887"} {
		file := load(t, name)
		for what, change := range changes {
			t.Run(name+"/"+what, func(t *testing.T) {
				source := file
				result := execute(t.Context(), file, reseal(file.Block, change), file.Parent, source)
				// The witness may lack the account of another coinbase.
				want := evm.Invalid
				if what == "coinbase" && errors.Is(result.Err, trie.ErrUnavailable) {
					want = evm.Incomplete
				}
				if result.Outcome != want || result.Err == nil || result.Nodes != nil {
					t.Errorf("%v: %v", result.Outcome, result.Err)
				}
			})
		}
	}
	t.Run("bad signature", func(t *testing.T) {
		file := load(t, "1-22615247")
		txs := file.Block.Transactions()
		v, r, s := txs[0].RawSignatureValues()
		body := *file.Block.Body()
		body.Transactions = append(types.Transactions{types.NewTx(&types.LegacyTx{
			Nonce: 1, GasPrice: big.NewInt(1), V: v, R: new(big.Int).Lsh(r, 1), S: s,
		})}, txs[1:]...)
		block := types.NewBlockWithHeader(file.Block.Header()).WithBody(body)
		if result := execute(t.Context(), file, block, file.Parent, file); result.Outcome != evm.Invalid {
			t.Errorf("%v: %v", result.Outcome, result.Err)
		}
	})
}

// headersFunc is evm.Headers made of a function.
type headersFunc func(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error)

func (f headersFunc) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	return f(ctx, hash, number)
}

// TestMissingAncestor executes a block that uses BLOCKHASH without the ancestors.
func TestMissingAncestor(t *testing.T) {
	file := load(t, "560048-974567")
	answers := map[string]headersFunc{
		"error":   func(context.Context, common.Hash, uint64) (*types.Header, error) { return nil, errFailed },
		"nothing": func(context.Context, common.Hash, uint64) (*types.Header, error) { return nil, nil },
		"another": func(context.Context, common.Hash, uint64) (*types.Header, error) { return file.Block.Header(), nil },
	}
	for name, headers := range answers {
		t.Run(name, func(t *testing.T) {
			result := execute(t.Context(), file, file.Block, file.Parent, headers)
			if result.Outcome != evm.Incomplete {
				t.Errorf("%v: %v", result.Outcome, result.Err)
			}
			if name == "error" && !errors.Is(result.Err, errFailed) {
				t.Errorf("the error does not wrap the cause: %v", result.Err)
			}
		})
	}
}

// stuck answers some fetches and then waits until ctx ends.
type stuck struct {
	*faulty
	after   int64
	reached chan struct{}
}

func (s stuck) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if s.count.Load() >= s.after {
		close(s.reached)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.faulty.FetchNode(ctx, fault)
}

// TestCancel ends the context in the middle of a fault.
func TestCancel(t *testing.T) {
	file := load(t, "1-25134887")
	ctx, cancel := context.WithCancelCause(t.Context())
	source := stuck{newFaulty(file, 0, false), 200, make(chan struct{})}
	why := errors.New("pivot")
	var cancelled time.Time
	go func() {
		<-source.reached
		cancelled = time.Now()
		cancel(why)
	}()
	result := run(ctx, file, source, nil)
	if result.Outcome != evm.Incomplete || !errors.Is(result.Err, why) {
		t.Fatalf("%v: %v", result.Outcome, result.Err)
	}
	if took := time.Since(cancelled); took > 2*time.Second {
		t.Errorf("took %v to end", took)
	}
}

// panicking is a source with a bug.
type panicking struct{ *witnessfile.File }

func (panicking) FetchCode(context.Context, common.Hash) ([]byte, error) { panic("bug") }

// TestNotTheBlock is about mistakes of the caller. They say nothing about the block: neither a valid
// nor an invalid one gets an outcome.
func TestNotTheBlock(t *testing.T) {
	file := load(t, "1-1150000")
	state := func(root common.Hash, source trie.Source) evm.State { return trie.Open(t.Context(), root, nil, source) }
	changed := func(change func(*types.Header)) *types.Header {
		header := types.CopyHeader(file.Parent)
		change(header)
		return header
	}
	for name, c := range map[string]struct {
		job  evm.Job
		want string
	}{
		"panic": {evm.Job{Parent: file.Parent, State: state(file.PreRoot, panicking{file}), Headers: file}, "panic: bug"},
		"empty": {evm.Job{}, "lacks"},
		"other root": {
			evm.Job{Parent: file.Parent, State: state(common.Hash{1}, file), Headers: file}, "state is opened on root 01",
		},
		"not the parent": {
			evm.Job{Parent: file.Block.Header(), State: state(file.Block.Root(), file), Headers: file}, "but the job has header",
		},
		"root and number of the parent": {
			evm.Job{
				Parent: &types.Header{Number: file.Parent.Number, Root: file.PreRoot, Difficulty: new(big.Int)},
				State:  state(file.PreRoot, file), Headers: file,
			}, "but the job has header",
		},
		"parent with other extra data": {
			evm.Job{
				Parent: changed(func(h *types.Header) { h.Extra = append(h.Extra, 0) }),
				State:  state(file.PreRoot, file), Headers: file,
			}, "but the job has header",
		},
	} {
		for what, block := range map[string]*types.Block{
			"valid": file.Block, "invalid": reseal(file.Block, func(h *types.Header) { h.Root[0] ^= 1 }),
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				job := c.job
				job.Block = block
				result := evm.NewExecutor(file.Config).Execute(t.Context(), job)
				if result.Outcome != evm.Incomplete || !errors.Is(result.Err, evm.ErrInternal) || !strings.Contains(result.Err.Error(), c.want) {
					t.Errorf("%v: %v, want incomplete: %s", result.Outcome, result.Err, c.want)
				}
			})
		}
	}
	t.Run("wrong number", func(t *testing.T) {
		block := reseal(file.Block, func(h *types.Header) { h.Number = new(big.Int).Add(h.Number, common.Big1) })
		result := execute(t.Context(), file, block, file.Parent, file)
		if result.Outcome != evm.Incomplete || !errors.Is(result.Err, evm.ErrInternal) {
			t.Errorf("%v: %v", result.Outcome, result.Err)
		}
	})
}
