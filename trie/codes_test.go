// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// TestCodeSet: what is asked for stays, the set is bounded, and knows nothing that was not put into it.
func TestCodeSet(t *testing.T) {
	code := func(i int) common.Hash { return crypto.Keccak256Hash([]byte{byte(i), byte(i >> 8)}) }
	s := NewCodeSet()
	s.limit = 100
	for i := range 1000 {
		if s.has(code(i)) {
			t.Fatalf("code %d is known before it was put", i)
		}
		s.add(code(i))
		if !s.has(code(0)) || !s.has(code(i)) {
			t.Fatalf("after %d codes the one that is asked for again is forgotten", i)
		}
		if n := len(s.young) + len(s.old); n > 2*s.limit {
			t.Fatalf("%d codes", n)
		}
	}
	if s.has(code(500)) {
		t.Error("nothing is forgotten")
	}
}
