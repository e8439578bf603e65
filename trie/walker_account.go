// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

func hashOf(blob []byte) common.Hash { return crypto.Keccak256Hash(blob) }

// decodeAccount reads the storage root and the code hash of an account (Yellow Paper, 4.1). It
// decodes nothing else: a state has hundreds of millions of accounts. The error wraps [ErrMalformed].
func decodeAccount(key common.Hash, value []byte) (a Account, err error) {
	bad := func() (Account, error) {
		return Account{}, fmt.Errorf("account %x: %w", key, malformed("value %x", value))
	}
	list, rest, err := rlp.SplitList(value)
	if err != nil || len(rest) > 0 {
		return bad()
	}
	var field [4][]byte
	for i := range field {
		if field[i], list, err = rlp.SplitString(list); err != nil {
			return bad()
		}
	}
	if len(list) > 0 || len(field[2]) != common.HashLength || len(field[3]) != common.HashLength {
		return bad()
	}
	a = Account{Key: key, Storage: common.Hash(field[2]), CodeHash: common.Hash(field[3])}
	if a.Storage == types.EmptyRootHash {
		a.Storage = common.Hash{}
	}
	if a.CodeHash == types.EmptyCodeHash {
		a.CodeHash = common.Hash{}
	}
	return a, nil
}
