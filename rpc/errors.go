// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/history"
	"github.com/ethereum/go-ethereum/core/vm"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Error codes of JSON-RPC, of EIP-1474 and of execution-apis.
const (
	codeServer        = -32000
	codeLimitExceeded = -32005
	codeInvalidParams = -32602
	codeClientLimit   = -38026
	codeReverted      = 3
	codePruned        = 4444
	codeUnavailable   = -32002 // EIP-1474: the resource exists, and cannot be had now
	codeInternal      = -32603

	codeReceiptTimeout = 4 // EIP-7966

	// Of eth_simulateV1 (execution-apis, src/eth/execute.yaml).
	codeVMError           = -32015
	codeNonceTooLow       = -38010
	codeNonceTooHigh      = -38011
	codeBaseFeeTooLow     = -38012
	codeIntrinsicGas      = -38013
	codeInsufficientFunds = -38014
	codeBlockGasLimit     = -38015
	codeBlockNumber       = -38020
	codeBlockTimestamp    = -38021
	codeSenderNotEOA      = -38024
	codeMaxInitCodeSize   = -38025
)

// codedError is an error with a JSON-RPC code.
type codedError struct {
	code int
	msg  string
}

func (e *codedError) Error() string  { return e.msg }
func (e *codedError) ErrorCode() int { return e.code }

func invalidParams(format string, args ...any) error {
	return &codedError{codeInvalidParams, fmt.Sprintf(format, args...)}
}

// errPruned is error 4444 with go-ethereum's text for history that is not stored.
func errPruned() error { return &history.PrunedHistoryError{} }

// errOutsideWindow is the error of a block whose state is older than those that peers serve.
func errOutsideWindow(number, head, window uint64) error {
	return &codedError{codePruned, fmt.Sprintf(
		"state unavailable: block %d is outside the %d newest blocks (head %d) whose state peers serve", number, window, head)}
}

// ErrNotKept is wrapped by failed reads of a state that this node has dropped and that no peer has: it will not come back.
var ErrNotKept = errors.New("the state is not kept, and no peer has it")

// indexingError is go-ethereum's error for a transaction that is not found while old blocks are still missing.
type indexingError struct{}

func (indexingError) Error() string    { return "transaction indexing is in progress" }
func (indexingError) ErrorCode() int   { return codeServer }
func (e indexingError) ErrorData() any { return e.Error() }

// unavailableError is a state query that failed because state could not be fetched. The same query may
// succeed later, unless the state is not kept.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return "state unavailable: " + e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }
func (e *unavailableError) ErrorCode() int {
	switch {
	case errors.Is(e.err, ErrNotKept):
		return codePruned
	case errors.Is(e.err, trie.ErrUnavailable):
		return codeUnavailable
	}
	return codeServer
}

// revertError is an execution that ended in REVERT, with the data that it returned.
type revertError struct {
	err    error
	revert []byte
}

func newRevertError(revert []byte) *revertError {
	err := vm.ErrExecutionReverted
	if reason, unpack := abi.UnpackRevert(revert); unpack == nil {
		err = fmt.Errorf("%w: %v", vm.ErrExecutionReverted, reason)
	}
	return &revertError{err, revert}
}

func (e *revertError) Error() string  { return e.err.Error() }
func (e *revertError) Unwrap() error  { return e.err }
func (e *revertError) ErrorCode() int { return codeReverted }
func (e *revertError) ErrorData() any { return hexutil.Encode(e.revert) }
