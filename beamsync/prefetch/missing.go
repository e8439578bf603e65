// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// missing is what one round lacks.
type missing struct {
	// Required: a run read it, and the next round waits for it.
	faults []trie.Fault
	codes  []common.Hash
	header *headerID // the first that BLOCKHASH found missing, which is the highest; it brings the ones below

	// Predicted: no run read it, but one probably will. Nothing waits for it.
	predicted      []trie.Fault
	predictedCodes []common.Hash
}

// headerID names a header to fetch.
type headerID struct {
	hash   common.Hash
	number uint64
}

// add adds what a run on state missed, and what was recorded there as wanted.
func (m *missing) add(state *trie.PartialState) {
	faults, codes := state.Missing()
	m.faults = append(m.faults, faults...)
	m.codes = append(m.codes, codes...)
	faults, codes = state.Wanted()
	m.predicted = append(m.predicted, faults...)
	m.predictedCodes = append(m.predictedCodes, codes...)
}

// any says whether anything is required.
func (m *missing) any() bool { return len(m.faults)+len(m.codes) > 0 || m.header != nil }

// requireAll makes what is predicted required.
func (m *missing) requireAll() {
	m.faults, m.predicted = append(m.faults, m.predicted...), nil
	m.codes, m.predictedCodes = append(m.codes, m.predictedCodes...), nil
}
