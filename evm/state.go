package evm

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// State is the state under one root for one execution: [trie.StateDatabase], whose missing
// nodes are faults, or that of a full node.
type State interface {
	state.Database
	Root() common.Hash
	// Err is the error latch: the first read that failed, nil if all were answered.
	Err() error
	// Fail sets the latch from outside.
	Fail(err error)
	// Touched is what was read.
	Touched() *trie.Touched
	// Finish ends the execution of a valid block and returns the new nodes and codes that are to be
	// kept: none if the state keeps them itself. It comes once, after everything else.
	Finish(executed *state.StateDB, rules params.Rules, number uint64) ([]trie.Node, map[common.Hash][]byte, error)
}
