package evm_test

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witness"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// reseal returns the file's block with a changed header.
func reseal(block *types.Block, change func(*types.Header)) *types.Block {
	header := block.Header()
	change(header)
	return block.WithSeal(header)
}

func execute(ctx context.Context, file *witness.File, block *types.Block, parent *types.Header, headers evm.Headers) *evm.Result {
	return evm.NewExecutor(file.Config).Execute(ctx, evm.Job{
		Block:   block,
		Parent:  parent,
		State:   trie.Open(ctx, parent.Root, file, file),
		Headers: headers,
	})
}

// TestWrongHeader changes what the header commits to: the block is bad, and saying so
// needs nothing that is missing.
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
				// A stranger's coinbase is an account that the witness does not reach.
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
		"error":   func(context.Context, common.Hash, uint64) (*types.Header, error) { return nil, errLost },
		"nothing": func(context.Context, common.Hash, uint64) (*types.Header, error) { return nil, nil },
		"another": func(context.Context, common.Hash, uint64) (*types.Header, error) { return file.Block.Header(), nil },
	}
	for name, headers := range answers {
		t.Run(name, func(t *testing.T) {
			result := execute(t.Context(), file, file.Block, file.Parent, headers)
			if result.Outcome != evm.Incomplete {
				t.Errorf("%v: %v", result.Outcome, result.Err)
			}
			if name == "error" && !errors.Is(result.Err, errLost) {
				t.Errorf("the cause is lost: %v", result.Err)
			}
		})
	}
}

// TestStandInParent knows nothing of the parent but its state root.
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
			file := load(t, name)
			parent := &types.Header{Number: file.Parent.Number, Root: file.PreRoot, Difficulty: new(big.Int)}
			none := headersFunc(func(context.Context, common.Hash, uint64) (*types.Header, error) { return nil, errLost })
			if result := execute(t.Context(), file, file.Block, parent, none); result.Outcome != want {
				t.Errorf("%v: %v", result.Outcome, result.Err)
			}
		})
	}
}

// stuck never answers after some fetches.
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
type panicking struct{ *witness.File }

func (panicking) FetchCode(context.Context, common.Hash) ([]byte, error) { panic("bug") }

// TestNotTheBlock is about failures that say nothing of the block.
func TestNotTheBlock(t *testing.T) {
	file := load(t, "1-1150000")
	jobs := map[string]evm.Job{
		"panic":      {Block: file.Block, Parent: file.Parent, State: trie.Open(t.Context(), file.PreRoot, nil, panicking{file}), Headers: file},
		"empty":      {},
		"other root": {Block: file.Block, Parent: file.Parent, State: trie.Open(t.Context(), common.Hash{1}, file, file), Headers: file},
		"not parent": {Block: file.Block, Parent: file.Block.Header(), State: trie.Open(t.Context(), file.Block.Root(), file, file), Headers: file},
	}
	for name, job := range jobs {
		t.Run(name, func(t *testing.T) {
			result := evm.NewExecutor(file.Config).Execute(t.Context(), job)
			if result.Outcome != evm.Incomplete || !errors.Is(result.Err, evm.ErrInternal) {
				t.Errorf("%v: %v", result.Outcome, result.Err)
			}
		})
	}
}
