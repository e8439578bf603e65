// SPDX-License-Identifier: LGPL-3.0-or-later

package fetch_test

import (
	"context"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// nothing is a source that must not be asked.
type nothing struct{ t *testing.T }

func (n nothing) FetchNode(_ context.Context, f trie.Fault) ([]byte, error) {
	n.t.Errorf("%x is not held", f.Path)
	return nil, trie.ErrUnavailable
}

func (n nothing) FetchCode(context.Context, common.Hash) ([]byte, error) {
	return nil, trie.ErrUnavailable
}
