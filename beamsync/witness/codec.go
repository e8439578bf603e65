// SPDX-License-Identifier: LGPL-3.0-or-later

package witness

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

const (
	// maxKeysBytes bounds the encoding of what a block touched: the most that beam/2 carries.
	maxKeysBytes = 2 << 20

	// What things take in the encoding at most, without slots and paths, in bytes.
	keysOverhead    = 16 // of the outer lists
	accountOverhead = 21 + 1 + 3*4
)

// errTooManyKeys says that a list of keys is longer than what it is for can have read.
var errTooManyKeys = errors.New("too many keys")

// encodeTouched writes what a block touched as beam/2 carries it (docs/wit.md):
//
//	[accounts: [[address: B_20, code: {0, 1}, slots: [slot: P, ...], paths: [path: B, ...]], ...], paths: [path: B, ...]]
//
// Slots are big-endian numbers without leading zeros, paths are in compact encoding. All
// lists increase, slots as numbers and paths as nibbles. What does not fit maxKeysBytes is
// left out, and whole is false.
func encodeTouched(touched *trie.Touched) (keys rlp.RawValue, whole bool) {
	e := touchedEncoder{rlp.NewEncoderBuffer(nil), maxKeysBytes - keysOverhead}
	for _, path := range touched.Paths {
		e.room -= 1 + len(path)/2 + 1 // they come last
	}
	outer := e.List()
	accounts := e.List()
	for i := range touched.Accounts {
		account := &touched.Accounts[i]
		if e.room -= accountOverhead; e.room < 0 {
			break
		}
		entry := e.List()
		e.WriteBytes(account.Address[:])
		e.WriteBool(account.Code)
		slots := e.List()
		for _, slot := range account.Slots {
			e.item(common.TrimLeftZeroes(slot[:]))
		}
		e.ListEnd(slots)
		e.paths(account.Paths)
		e.ListEnd(entry)
	}
	e.ListEnd(accounts)
	whole = e.room >= 0
	e.room = maxKeysBytes - keysOverhead // was kept for them
	e.paths(touched.Paths)
	e.ListEnd(outer)
	return e.ToBytes(), whole && e.room >= 0
}

// touchedEncoder counts the bytes that may still be written.
type touchedEncoder struct {
	rlp.EncoderBuffer
	room int
}

// item writes a string if there is room for it.
func (e *touchedEncoder) item(content []byte) {
	if e.room -= 1 + len(content); e.room >= 0 {
		e.WriteBytes(content)
	}
}

func (e *touchedEncoder) paths(paths [][]byte) {
	list := e.List()
	for _, path := range paths {
		e.item(trie.EncodePath(path))
	}
	e.ListEnd(list)
}

// decodeTouched reads what encodeTouched writes, at most limit keys, and insists on every
// rule of it. It holds no more than limit keys of a longer list.
func decodeTouched(encoded []byte, limit int) (*trie.Touched, error) {
	d := touchedDecoder{room: limit}
	outer, rest, err := rlp.SplitList(encoded)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after the keys", len(rest))
	}
	if err != nil {
		return nil, err
	}
	accounts, outer, err := rlp.SplitList(outer)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	touched := new(trie.Touched)
	for len(accounts) > 0 {
		var fields []byte
		if fields, accounts, err = rlp.SplitList(accounts); err != nil {
			return nil, fmt.Errorf("account: %w", err)
		}
		account, err := d.account(fields)
		if err != nil {
			return nil, err
		}
		if n := len(touched.Accounts); n > 0 && touched.Accounts[n-1].Address.Cmp(account.Address) >= 0 {
			return nil, fmt.Errorf("account %x is out of order", account.Address)
		}
		touched.Accounts = append(touched.Accounts, account)
	}
	if touched.Paths, outer, err = d.paths(outer); err != nil {
		return nil, err
	}
	if len(outer) > 0 {
		return nil, errors.New("more than accounts and paths")
	}
	return touched, nil
}

// touchedDecoder counts what it may still read.
type touchedDecoder struct{ room int }

func (d *touchedDecoder) take() error {
	if d.room--; d.room < 0 {
		return errTooManyKeys
	}
	return nil
}

func (d *touchedDecoder) account(fields []byte) (account trie.TouchedAccount, err error) {
	if err := d.take(); err != nil {
		return account, err
	}
	address, fields, err := rlp.SplitString(fields)
	if err != nil || len(address) != common.AddressLength {
		return account, fmt.Errorf("address of %d bytes: %w", len(address), errors.Join(err, rlp.ErrExpectedString))
	}
	account.Address = common.Address(address)
	code, fields, err := rlp.SplitUint64(fields)
	if err != nil || code > 1 {
		return account, fmt.Errorf("account %x: code %d: %w", address, code, errors.Join(err, rlp.ErrCanonInt))
	}
	account.Code = code == 1
	slots, fields, err := rlp.SplitList(fields)
	if err != nil {
		return account, fmt.Errorf("account %x: slots: %w", address, err)
	}
	if account.Slots, err = d.slots(slots); err != nil {
		return account, fmt.Errorf("account %x: %w", address, err)
	}
	if account.Paths, fields, err = d.paths(fields); err != nil {
		return account, fmt.Errorf("account %x: %w", address, err)
	}
	if len(fields) > 0 {
		return account, fmt.Errorf("account %x: more than four fields", address)
	}
	return account, nil
}

func (d *touchedDecoder) slots(list []byte) (slots []common.Hash, err error) {
	for len(list) > 0 {
		if err := d.take(); err != nil {
			return nil, err
		}
		var content []byte
		if content, list, err = rlp.SplitString(list); err != nil {
			return nil, fmt.Errorf("slot: %w", err)
		}
		if len(content) > common.HashLength || len(content) > 0 && content[0] == 0 {
			return nil, fmt.Errorf("slot %x: not a number of 32 bytes", content)
		}
		slot := common.BytesToHash(content)
		if n := len(slots); n > 0 && slots[n-1].Cmp(slot) >= 0 {
			return nil, fmt.Errorf("slot %x is out of order", slot)
		}
		slots = append(slots, slot)
	}
	return slots, nil
}

// paths reads a list of paths off buf.
func (d *touchedDecoder) paths(buf []byte) (paths [][]byte, rest []byte, err error) {
	list, rest, err := rlp.SplitList(buf)
	if err != nil {
		return nil, nil, fmt.Errorf("paths: %w", err)
	}
	for len(list) > 0 {
		if err := d.take(); err != nil {
			return nil, nil, err
		}
		var compact []byte
		if compact, list, err = rlp.SplitString(list); err != nil {
			return nil, nil, fmt.Errorf("path: %w", err)
		}
		path, err := trie.DecodePath(compact)
		if err != nil {
			return nil, nil, fmt.Errorf("path: %w", err)
		}
		if len(path) >= trie.KeyLen {
			return nil, nil, fmt.Errorf("path %x: it is as long as a key, which names no node", compact)
		}
		if n := len(paths); n > 0 && bytes.Compare(paths[n-1], path) >= 0 {
			return nil, nil, fmt.Errorf("path %x is out of order", compact)
		}
		paths = append(paths, path)
	}
	return paths, rest, nil
}
