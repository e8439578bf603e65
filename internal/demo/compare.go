// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/internal/stategen"
)

// callTimeout bounds one call from this side. Both nodes give up an eth_call after 5 s themselves.
const callTimeout = 20 * time.Second

// ErrUnanswered says that a node did not answer a question: time ran out, or the state could not be
// read at the moment. It says nothing about what the node would have answered.
var ErrUnanswered = errors.New("unanswered")

// Question is one state query. Its last argument is the block number.
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

// At is the same question about another block.
func (q Question) At(block uint64) Question {
	args := slices.Clone(q.Args)
	args[len(args)-1] = hexutil.Uint64(block)
	return Question{q.Method, args}
}

// String is the question as JSON.
func (q Question) String() string {
	args, err := json.Marshal(q.Args)
	if err != nil {
		return q.Method
	}
	return q.Method + string(args)
}

// Compare asks both nodes and says how the answers differ: nil if they are the same. The error is an
// ErrUnanswered if a node did not answer.
func Compare(ctx context.Context, q Question, node, geth *gethrpc.Client) error {
	return compareReplies(q, call(ctx, q, node), call(ctx, q, geth))
}

// reply is what came back for a question: a result, or an error.
type reply struct {
	result json.RawMessage
	err    error
}

func call(ctx context.Context, q Question, client *gethrpc.Client) (r reply) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r.err = client.CallContext(ctx, &r.result, q.Method, q.Args...)
	return r
}

// compareReplies is nil if both nodes answered the same. An error that does not come from lack of time
// is an answer: geth must give the same one.
func compareReplies(q Question, node, geth reply) error {
	for _, of := range []struct {
		name string
		reply
	}{{"sunbeam", node}, {"geth", geth}} {
		if isUnanswered(of.err) {
			return fmt.Errorf("%s: %w by %s: %w", q, ErrUnanswered, of.name, of.err)
		}
	}
	if node.err != nil || geth.err != nil {
		if node.String() == geth.String() {
			return nil
		}
		return fmt.Errorf("%s: sunbeam says %s, geth says %s", q, node, geth)
	}
	var results [2]any
	for i, raw := range []json.RawMessage{node.result, geth.result} {
		if err := json.Unmarshal(raw, &results[i]); err != nil {
			return fmt.Errorf("%s: the result of %s is not JSON: %w", q, []string{"sunbeam", "geth"}[i], err)
		}
	}
	if !reflect.DeepEqual(results[0], results[1]) {
		return fmt.Errorf("%s: sunbeam says %v, geth says %v", q, results[0], results[1])
	}
	return nil
}

// String is the result, or the error with its code and data.
func (r reply) String() string {
	if r.err == nil {
		return string(r.result)
	}
	text := "error " + r.err.Error()
	if coded, ok := errors.AsType[gethrpc.Error](r.err); ok {
		text = fmt.Sprintf("error %d %s", coded.ErrorCode(), coded.Error())
	}
	if with, ok := errors.AsType[gethrpc.DataError](r.err); ok && with.ErrorData() != nil {
		text += fmt.Sprintf(" (%v)", with.ErrorData())
	}
	return text
}

// Codes of JSON-RPC errors that a busy node may give.
const (
	codeTimeout = -32002 // of geth's server
	codeLimit   = -32005 // EIP-1474: too many requests at once
	codePruned  = 4444   // the block has left the window of states, or is from before the node became full
)

// isUnanswered says whether an error means that there was no answer yet, rather than being the answer.
func isUnanswered(err error) bool {
	if err == nil {
		return false
	}
	if coded, ok := errors.AsType[gethrpc.Error](err); ok {
		switch coded.ErrorCode() {
		case codeTimeout, codeLimit, codePruned:
			return true
		}
		text := coded.Error()
		return strings.HasPrefix(text, "execution aborted (timeout") || strings.HasPrefix(text, "state unavailable: ")
	}
	if status, ok := errors.AsType[gethrpc.HTTPError](err); ok {
		return status.StatusCode >= 500
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gethrpc.ErrClientQuit)
}
