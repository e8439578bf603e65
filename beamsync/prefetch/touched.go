// SPDX-License-Identifier: LGPL-3.0-or-later

package prefetch

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// touchedRounds bounds the requests for what is touched: accounts, then their code and storage, then what replies were
// cut off before.
const touchedRounds = 3

// Touched fetches what is touched and missing of a state in the store, into which hinter puts it. What no peer has is left out. It returns early
// when ctx ends or a fetch fails.
func Touched(ctx context.Context, touched *trie.Touched, store trie.Store, root common.Hash, hinter Hinter) error {
	for range touchedRounds {
		faults, codes, err := touched.Missing(store, root)
		if err != nil || len(faults)+len(codes) == 0 {
			return err
		}
		if err := hinter.Hint(ctx, faults, codes, nil); err != nil {
			return err
		}
	}
	return nil
}
