// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import "fmt"

// Outcome is what an execution proves about its block.
type Outcome int

const (
	// Incomplete proves nothing: a read failed, ctx ended, or there is a bug on our side. It is the zero
	// value, so that an outcome that nobody set never vouches for a block.
	Incomplete Outcome = iota
	// Valid: the block was executed in full, and everything that its header commits to was compared.
	Valid
	// Invalid: every read was answered, and the block breaks a consensus rule.
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
