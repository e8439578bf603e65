// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"testing"

	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// coded is an error as a JSON-RPC server gives it.
type coded struct {
	code int
	text string
	data any
}

func (e coded) Error() string  { return e.text }
func (e coded) ErrorCode() int { return e.code }
func (e coded) ErrorData() any { return e.data }

func TestCompareReplies(t *testing.T) {
	result := func(text string) reply { return reply{result: []byte(text)} }
	failed := func(err error) reply { return reply{err: err} }
	reverted := func(data string) reply { return failed(coded{3, "execution reverted", data}) }
	const (
		same = iota
		different
		unanswered
	)
	for name, test := range map[string]struct {
		node, geth reply
		want       int
	}{
		"the same":                       {result(`"0x1"`), result(`"0x1"`), same},
		"the same object":                {result(`{"a":1,"b":[2]}`), result(`{"b":[2], "a":1}`), same},
		"another number":                 {result(`"0x1"`), result(`"0x2"`), different},
		"nothing for something":          {result(`null`), result(`"0x2"`), different},
		"no JSON":                        {result(`{`), result(`"0x2"`), different},
		"both revert":                    {reverted("0x01"), reverted("0x01"), same},
		"both revert with other data":    {reverted("0x01"), reverted("0x02"), different},
		"only sunbeam reverts":           {reverted("0x01"), result(`"0x01"`), different},
		"only geth reverts":              {result(`"0x01"`), reverted("0x01"), different},
		"an internal error":              {failed(coded{code: -32603, text: "method handler crashed"}), result(`"0x1"`), different},
		"a method that is not there":     {failed(coded{code: -32601, text: "the method does not exist"}), result(`"0x1"`), different},
		"a missing trie node":            {failed(coded{code: -32000, text: "missing trie node"}), result(`"0x1"`), different},
		"refused by HTTP":                {failed(gethrpc.HTTPError{StatusCode: 403}), result(`"0x1"`), different},
		"a result that cannot be read":   {failed(errors.New("invalid character")), result(`"0x1"`), different},
		"sunbeam's call ran out of time": {failed(coded{code: -32000, text: "execution aborted (timeout = 5s)"}), result(`"0x1"`), unanswered},
		"geth's call ran out of time":    {result(`"0x1"`), failed(coded{code: -32000, text: "execution aborted (timeout = 5s)"}), unanswered},
		"both ran out of time":           {failed(coded{code: -32002, text: "request timed out"}), failed(coded{code: -32002, text: "request timed out"}), unanswered},
		"state that no peer serves now":  {failed(coded{code: -32000, text: "state unavailable: not answered within 5s: no peers"}), result(`"0x1"`), unanswered},
		"a block that left the window":   {failed(coded{code: 4444, text: "state unavailable"}), result(`"0x1"`), unanswered},
		"too many at once":               {failed(coded{code: -32005, text: "too many state queries"}), result(`"0x1"`), unanswered},
		"overloaded by HTTP":             {failed(gethrpc.HTTPError{StatusCode: 503}), result(`"0x1"`), unanswered},
		"our own limit":                  {failed(fmt.Errorf("post: %w", context.DeadlineExceeded)), result(`"0x1"`), unanswered},
		"a connection that broke":        {failed(&url.Error{Op: "Post", URL: "http://127.0.0.1", Err: io.EOF}), result(`"0x1"`), unanswered},
		"wrong against nothing":          {result(`"0x1"`), failed(io.ErrUnexpectedEOF), unanswered},
	} {
		got := same
		err := compareReplies(Question{"eth_call", []any{"0x1"}}, test.node, test.geth)
		if errors.Is(err, ErrUnanswered) {
			got = unanswered
		} else if err != nil {
			got = different
		}
		if got != test.want {
			t.Errorf("%s: got %d, want %d: %v", name, got, test.want, err)
		}
	}
}

func TestQuestionAt(t *testing.T) {
	q := Question{"eth_getBalance", []any{"0x01", "0x1"}}
	if got := q.At(18).String(); got != `eth_getBalance["0x01","0x12"]` {
		t.Errorf("at another block it is %s", got)
	}
	if got := q.String(); got != `eth_getBalance["0x01","0x1"]` {
		t.Errorf("the question itself became %s", got)
	}
}
