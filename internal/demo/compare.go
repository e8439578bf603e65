package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// Question is one state query.
type Question struct {
	Method string
	Args   []any
}

// Questions makes random state queries about a block: balances, calls that read storage,
// and proofs, a third each. Some ask for what does not exist.
func Questions(spec stategen.Spec, random *rand.Rand, block uint64, count int) []Question {
	at := hexutil.Uint64(block)
	questions := make([]Question, count)
	for i := range questions {
		contract := random.IntN(spec.Contracts)
		slots := spec.SlotsOf(contract)
		account := stategen.Account(random.Uint64N(uint64(spec.Accounts) * 11 / 10))
		switch i % 3 {
		case 0:
			questions[i] = Question{"eth_getBalance", []any{account, at}}
		case 1:
			call := stategen.Call{Op: stategen.Read, Seed: random.Uint64(), Count: 5, N: max(slots, 1)}
			questions[i] = Question{"eth_call", []any{map[string]any{
				"to": stategen.Contract(contract), "input": hexutil.Bytes(call.Input()),
			}, at}}
		case 2:
			address, keys := stategen.Contract(contract), []common.Hash{stategen.Slot(random.Uint64N(slots*11/10 + 1))}
			if random.IntN(2) == 0 {
				address, keys = account, []common.Hash{}
			}
			questions[i] = Question{"eth_getProof", []any{address, keys, at}}
		}
	}
	return questions
}

// Compare asks both nodes and says how the answers differ: nil if they are the same.
func Compare(ctx context.Context, q Question, node, geth *gethrpc.Client) error {
	var answers [2]any
	for i, client := range []*gethrpc.Client{node, geth} {
		var raw json.RawMessage
		if err := client.CallContext(ctx, &raw, q.Method, q.Args...); err != nil {
			return fmt.Errorf("%s of %s: %w", q, []string{"sunbeam", "geth"}[i], err)
		}
		if err := json.Unmarshal(raw, &answers[i]); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	if !reflect.DeepEqual(answers[0], answers[1]) {
		return fmt.Errorf("%s: sunbeam says %v, geth says %v", q, answers[0], answers[1])
	}
	return nil
}

// String is the question as JSON.
func (q Question) String() string {
	args, err := json.Marshal(q.Args)
	if err != nil {
		return q.Method
	}
	return q.Method + string(args)
}
