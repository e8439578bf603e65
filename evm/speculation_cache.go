// SPDX-License-Identifier: LGPL-3.0-or-later

package evm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// cacheVersion changes with the encoding of the speculation cache.
const cacheVersion = 1

// MaxSpeculationCache bounds the encoding of a speculation cache, in bytes. A full one takes some 20 MB.
const MaxSpeculationCache = 64 << 20

var (
	// ErrCacheDamaged says that the encoding of a speculation cache is not one that was written.
	ErrCacheDamaged = errors.New("speculation cache is damaged")
	// ErrCacheForeign says that a speculation cache has another version, or is of another chain.
	ErrCacheForeign = errors.New("speculation cache is of another version or chain")
)

// cacheHeader comes before the content, and is never encoded in another way.
type cacheHeader struct {
	Version uint64
	Genesis common.Hash
}

// cacheContent is a speculation cache: what valid blocks read, with the values last seen, and what functions commonly read.
// Each list has the newest entry last.
type cacheContent struct {
	CodeHashes []seenCodeHash
	Slots      []seenSlot
	Profiles   []seenProfile
}

type seenCodeHash struct {
	Addr common.Address
	Hash common.Hash
}

// seenSlot has slot and value without leading zeros, which most of them have many of.
type seenSlot struct {
	Addr        common.Address
	Slot, Value []byte
}

type seenProfile struct {
	Function  selector
	Contracts [profileContracts]common.Address
	Next      uint8
	Slots     []profileSlot
}

type profileSlot struct {
	Slot    common.Hash
	Readers uint8
}

// EncodeSpeculationCache encodes what speculation has learned from blocks of the chain with that genesis: the values last seen
// and the slot profiles. It blocks speculation for some 50 ms if they are full.
func (e *Executor) EncodeSpeculationCache(genesis common.Hash) ([]byte, error) {
	var content cacheContent
	e.lastSeen.export(&content)
	e.profiles.export(&content)
	raw, err := rlp.EncodeToBytes(&cacheHeader{cacheVersion, genesis})
	if err != nil {
		return nil, err
	}
	encoded, err := rlp.EncodeToBytes(&content)
	if err != nil {
		return nil, err
	}
	return checksummed(append(raw, encoded...)), nil
}

func checksummed(raw []byte) []byte { return append(raw, crypto.Keccak256(raw)...) }

// DecodeSpeculationCache adds what an earlier process had learned. The values are as unverified as any guess: speculation takes
// them for state that is missing, and fetches that state. An error wraps ErrCacheDamaged or ErrCacheForeign; nothing is
// added then.
func (e *Executor) DecodeSpeculationCache(raw []byte, genesis common.Hash) error {
	if len(raw) < common.HashLength {
		return fmt.Errorf("%w: %d bytes", ErrCacheDamaged, len(raw))
	}
	raw, sum := raw[:len(raw)-common.HashLength], raw[len(raw)-common.HashLength:]
	if !bytes.Equal(crypto.Keccak256(raw), sum) {
		return fmt.Errorf("%w: wrong checksum", ErrCacheDamaged)
	}
	var header cacheHeader
	_, _, rest, err := rlp.Split(raw)
	if err == nil {
		err = rlp.DecodeBytes(raw[:len(raw)-len(rest)], &header)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCacheDamaged, err)
	case header.Version != cacheVersion:
		return fmt.Errorf("%w: version %d, not %d", ErrCacheForeign, header.Version, cacheVersion)
	case header.Genesis != genesis:
		return fmt.Errorf("%w: genesis %x, not %x", ErrCacheForeign, header.Genesis, genesis)
	}
	var content cacheContent
	if err := rlp.DecodeBytes(rest, &content); err != nil {
		return fmt.Errorf("%w: %w", ErrCacheDamaged, err)
	}
	if err := content.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrCacheDamaged, err)
	}
	e.lastSeen.restore(&content)
	e.profiles.restore(&content)
	return nil
}

// check returns an error for a content that no process writes.
func (c *cacheContent) check() error {
	if len(c.CodeHashes) > maxSeenAccounts || len(c.Slots) > maxSeenSlots || len(c.Profiles) > maxProfiles {
		return fmt.Errorf("%d code hashes, %d slots, %d profiles", len(c.CodeHashes), len(c.Slots), len(c.Profiles))
	}
	for i := range c.Slots {
		if s := &c.Slots[i]; len(s.Slot) > common.HashLength || len(s.Value) > common.HashLength {
			return fmt.Errorf("slot of %d bytes, value of %d", len(s.Slot), len(s.Value))
		}
	}
	for i := range c.Profiles {
		if p := &c.Profiles[i]; p.Next >= profileContracts || len(p.Slots) > profileSlots {
			return fmt.Errorf("profile of %d slots, next contract %d", len(p.Slots), p.Next)
		}
	}
	return nil
}

// export adds all entries to a content, the one used last at the end.
func (l *lastSeen) export(c *cacheContent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, addr := range l.hashes.Keys() {
		hash, _ := l.hashes.Peek(addr)
		c.CodeHashes = append(c.CodeHashes, seenCodeHash{addr, hash})
	}
	for _, key := range l.slots.Keys() {
		value, _ := l.slots.Peek(key)
		c.Slots = append(c.Slots, seenSlot{key.addr, common.TrimLeftZeroes(key.slot[:]), common.TrimLeftZeroes(value[:])})
	}
}

// restore adds the entries of a content.
func (l *lastSeen) restore(c *cacheContent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range c.CodeHashes {
		l.hashes.Add(c.CodeHashes[i].Addr, c.CodeHashes[i].Hash)
	}
	for i := range c.Slots {
		s := &c.Slots[i]
		l.slots.Add(slotKey{s.Addr, common.BytesToHash(s.Slot)}, common.BytesToHash(s.Value))
	}
}

// export is that of lastSeen.
func (p *slotProfiles) export(c *cacheContent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, function := range p.byFunction.Keys() {
		profile, _ := p.byFunction.Peek(function)
		out := seenProfile{Function: function, Contracts: profile.contracts, Next: uint8(profile.next)}
		for slot, readers := range profile.readers {
			out.Slots = append(out.Slots, profileSlot{slot, readers})
		}
		slices.SortFunc(out.Slots, func(a, b profileSlot) int { return a.Slot.Cmp(b.Slot) }) // equal contents have equal encodings
		c.Profiles = append(c.Profiles, out)
	}
}

// restore is that of lastSeen.
func (p *slotProfiles) restore(c *cacheContent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range c.Profiles {
		in := &c.Profiles[i]
		profile := &slotProfile{contracts: in.Contracts, next: int(in.Next), readers: make(map[common.Hash]uint8)}
		for _, slot := range in.Slots {
			profile.readers[slot.Slot] = slot.Readers
		}
		p.byFunction.Add(in.Function, profile)
	}
}
