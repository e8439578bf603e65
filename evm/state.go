// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// State is the state under one root for one execution: a [trie.StateDatabase], which fetches missing
// nodes, or the complete state of a full node.
type State interface {
	state.Database
	Root() common.Hash
	// Err returns the first read that failed, nil if all were answered.
	Err() error
	// Fail makes Err return the error, unless a read failed before. All later reads fail.
	Fail(err error)
	// Touched returns what was read.
	Touched() *trie.Touched
	// Finish ends the execution of a valid block and returns the new nodes and codes for the caller to
	// store, none if the state stores them itself. It is called once, after all other methods.
	Finish(executed *state.StateDB, rules params.Rules, number uint64) ([]trie.Node, map[common.Hash][]byte, error)
}
