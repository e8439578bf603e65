// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import "github.com/ethereum/go-ethereum/common"

// codesPerGeneration is how many codes each of the two generations of a [CodeSet] has: some 60 MB. Mainnet has a few million different
// ones, and a few thousand of them belong to nearly all contracts.
const codesPerGeneration = 2 << 20

// CodeSet remembers codes that are in the store, so that an account with one of them costs no lookup. It is bounded: the newest
// ones are remembered, and those that were asked for. Half of a hash is enough to tell codes apart, also for somebody who
// searches for two that collide; what came of it would be a code that is missing, not a wrong one. It is not safe
// for concurrent use.
type CodeSet struct {
	young, old map[codeID]struct{}
	limit      int // of young
}

type codeID [common.HashLength / 2]byte

// NewCodeSet returns a set without codes.
func NewCodeSet() *CodeSet {
	return &CodeSet{young: make(map[codeID]struct{}), limit: codesPerGeneration}
}

func idOf(code common.Hash) codeID { return codeID(code[:len(codeID{})]) }

func (s *CodeSet) has(code common.Hash) bool {
	id := idOf(code)
	if _, ok := s.young[id]; ok {
		return true
	}
	_, ok := s.old[id]
	if ok {
		s.add(code)
	}
	return ok
}

func (s *CodeSet) add(code common.Hash) {
	if len(s.young) >= s.limit {
		s.young, s.old = make(map[codeID]struct{}), s.young
	}
	s.young[idOf(code)] = struct{}{}
}
