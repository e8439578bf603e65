package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Held is how much of the state that a block reads is held already, in percent: what executing the blocks
// before it left. Which accounts and slots is a matter of their hashes; a slot is held only with its
// account.
type Held struct{ Accounts, Slots int }

// ParseHeld reads two percentages separated by a comma, accounts and slots; "" is nothing.
func ParseHeld(text string) (held Held, err error) {
	if text == "" {
		return held, nil
	}
	accounts, slots, ok := strings.Cut(text, ",")
	if ok {
		held.Accounts, err = strconv.Atoi(accounts)
	}
	if ok && err == nil {
		held.Slots, err = strconv.Atoi(slots)
	}
	if !ok || err != nil || min(held.Accounts, held.Slots) < 0 || max(held.Accounts, held.Slots) > 100 || held.Slots > held.Accounts {
		return Held{}, errors.New("two percentages are expected, of accounts and of slots, which are no more: 57,46")
	}
	return held, nil
}

// hold gives the client what Trial says that it holds. Whoever holds the codes has met the contracts, and knows which
// has which.
func (t Trial) hold(ctx context.Context, c *client) error {
	if !t.HoldCodes && t.Held == (Held{}) {
		return nil
	}
	block := list(ctx, t.File)
	if t.HoldCodes {
		codes, err := block.contracts(ctx)
		if err != nil {
			return err
		}
		c.executor.SeedCodes(codes)
		for hash, code := range t.File.Codes {
			if err := c.store.PutCode(hash, code); err != nil {
				return err
			}
		}
	}
	roots := make(map[common.Hash]common.Hash) // storage roots of accounts that are held
	for key := range block.keys {
		if key.owner == (common.Hash{}) && key.below(t.Held.Accounts, 100) {
			if err := c.holdPath(t.File, key.owner, t.File.PreRoot, key.key); err != nil {
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
		if root, held := roots[key.owner]; held && key.below(t.Held.Slots, t.Held.Accounts) {
			if err := c.holdPath(t.File, key.owner, root, key.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// below picks share of so many.
func (k stateKey) below(share, of int) bool {
	hash := crypto.Keccak256(k.owner[:], k.key[:])
	return of > 0 && binary.BigEndian.Uint32(hash)%uint32(of) < uint32(share)
}

func (c *client) holdPath(file *witnessfile.File, owner, root, key common.Hash) error {
	return c.store.PutNodes(trie.Follow(owner, nil, root, trie.Nibbles(key), file.Nodes))
}

// contracts says which code the accounts have that the block reads.
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
