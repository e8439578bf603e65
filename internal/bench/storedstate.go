// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// StoredState is how much of the state that a block reads is in the store before it, in percent, as after
// the execution of earlier blocks. The hashes of accounts and slots decide which ones; a slot is stored
// only with its account.
type StoredState struct{ Accounts, Slots int }

// ParseStoredState parses two percentages separated by a comma, accounts and slots; "" is none of the state.
func ParseStoredState(text string) (stored StoredState, err error) {
	if text == "" {
		return stored, nil
	}
	accounts, slots, ok := strings.Cut(text, ",")
	if ok {
		stored.Accounts, err = strconv.Atoi(accounts)
	}
	if ok && err == nil {
		stored.Slots, err = strconv.Atoi(slots)
	}
	if !ok || err != nil || min(stored.Accounts, stored.Slots) < 0 || max(stored.Accounts, stored.Slots) > 100 || stored.Slots > stored.Accounts {
		return StoredState{}, errors.New("give two percentages, of accounts and of slots, the second not above the first, as in 57,46")
	}
	return stored, nil
}

// fillStore puts code and state into the store of the client, as the trial says. With the code goes what
// its execution in earlier blocks tells: which contract has which. If part of the state is stored, so is the code of the
// accounts in it and no other: no node knows of a contract that it has not met.
func (t Trial) fillStore(ctx context.Context, c *client) error {
	if !t.StoredCode && t.StoredState == (StoredState{}) {
		return nil
	}
	block := list(ctx, t.File)
	if t.StoredCode {
		codes, err := block.contracts(ctx)
		if err != nil {
			return err
		}
		if t.StoredState != (StoredState{}) {
			maps.DeleteFunc(codes, func(addr common.Address, _ common.Hash) bool {
				return !stateKey{key: crypto.Keccak256Hash(addr[:])}.selected(t.StoredState.Accounts, 100)
			})
		}
		c.executor.SeedCodes(codes)
		for _, hash := range codes {
			if code := t.File.Codes[hash]; len(code) > 0 {
				if err := c.store.PutCode(hash, code); err != nil {
					return err
				}
			}
		}
	}
	roots := make(map[common.Hash]common.Hash) // storage roots of the stored accounts
	for key := range block.keys {
		if key.owner == (common.Hash{}) && key.selected(t.StoredState.Accounts, 100) {
			if err := c.putPath(t.File, key.owner, t.File.PreRoot, key.key); err != nil {
				return err
			}
			root, err := storageRoot(c.store, t.File.PreRoot, key.key)
			if err != nil {
				return err
			}
			roots[key.key] = root
		}
	}
	for key := range block.keys {
		if root, stored := roots[key.owner]; stored && key.selected(t.StoredState.Slots, t.StoredState.Accounts) {
			if err := c.putPath(t.File, key.owner, root, key.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// selected selects share keys of every so many, by their hashes.
func (k stateKey) selected(share, of int) bool {
	hash := crypto.Keccak256(k.owner[:], k.key[:])
	return of > 0 && binary.BigEndian.Uint32(hash)%uint32(of) < uint32(share)
}

func (c *client) putPath(file *witnessfile.File, owner, root, key common.Hash) error {
	return c.store.PutNodes(trie.Follow(owner, nil, root, trie.Nibbles(key), file.Nodes))
}

// contracts returns the code hashes of the accounts that the block reads.
func (l *listing) contracts(ctx context.Context) (map[common.Address]common.Hash, error) {
	reader, err := trie.Open(ctx, l.PreRoot, nil, l.File).Reader(l.PreRoot)
	if err != nil {
		return nil, err
	}
	codes := make(map[common.Address]common.Hash)
	for _, read := range l.touched.Accounts {
		account, err := reader.Account(read.Address)
		if err != nil {
			return nil, fmt.Errorf("account %x: %w", read.Address, err)
		}
		if account != nil {
			codes[read.Address] = common.BytesToHash(account.CodeHash)
		}
	}
	return codes, nil
}
