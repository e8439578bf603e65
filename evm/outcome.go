package evm

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// Outcome is what an execution says about its block.
type Outcome int

const (
	// Incomplete means: something could not be had; nothing is known about the block.
	// It is the zero value, so that a forgotten outcome never vouches for a block.
	Incomplete Outcome = iota
	// Valid means: executed in full, and everything the header commits to was compared.
	Valid
	// Invalid means: executed with all it needed, and it breaks a rule of consensus.
	Invalid
)

// String returns the outcome as metrics and logs spell it.
func (o Outcome) String() string {
	switch o {
	case Valid:
		return "valid"
	case Invalid:
		return "invalid"
	case Incomplete:
		return "incomplete"
	}
	return fmt.Sprintf("outcome(%d)", int(o))
}

// Headers finds ancestors for the BLOCKHASH opcode by hash, wherever they are.
// It blocks until the header is here or ctx ends.
type Headers interface {
	Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error)
}
