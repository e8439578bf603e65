// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/beacon"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// The depth of a block is how many trips its data dependency takes at least, given what is in the store: each value has a
// level, the number of sequential trips after which it is known. What the block names is at level 0. A slot whose key is
// computed from values of level n is at level n+1, unless it is in the store; the code of an account is one trip behind the
// account, because accounts name code by hash. The branches that the block takes count as known beforehand, and bandwidth as
// unlimited. So no guessing of branches, however good, goes below the depth; a guess of values may.

// level is after how many trips a value is known, and what the last of these trips brings.
type level struct {
	trips int
	key   depthKey
	from  *level // of what had to be known for that trip
}

// known is the level of what the block itself tells.
var known *level //nolint:gochecknoglobals // a constant

func (l *level) after() int {
	if l == nil {
		return 0
	}
	return l.trips
}

// latest returns the level at which all of some values are known.
func latest(levels ...*level) (last *level) {
	for _, l := range levels {
		if l.after() > last.after() {
			last = l
		}
	}
	return last
}

// String tells the trips one by one, the last one first.
func (l *level) String() string {
	var parts []string
	for ; l != nil; l = l.from {
		parts = append(parts, l.key.String())
	}
	return strings.Join(parts, " < ")
}

// depthKey names what a block fetches: an account, a slot of one, a code by its hash in slot, or a sibling of a deleted node.
type depthKey struct {
	kind byte // 'a', 's', 'c' or 'n'
	addr common.Address
	slot common.Hash
}

// String names it in a few characters.
func (k depthKey) String() string {
	switch k.kind {
	case 'a':
		return fmt.Sprintf("account %x", k.addr[:4])
	case 's':
		slot := common.TrimLeftZeroes(k.slot[:])
		return fmt.Sprintf("slot %x of %x", slot[:min(len(slot), 4)], k.addr[:4])
	case 'c':
		return fmt.Sprintf("code %x", k.slot[:4])
	}
	return "sibling"
}

// localView is what a node has before a block.
type localView interface {
	hasAccount(common.Address) bool
	hasSlot(common.Address, common.Hash) bool
	// knowsCode says whether the code of an account can be run before the account is there.
	knowsCode(addr common.Address, code common.Hash) bool
	hasCode(common.Hash) bool
	hasNode(trie.Fault) bool
	// knowsSlot says whether the value last seen of a slot is the right one.
	knowsSlot(addr common.Address, slot common.Hash, value func() common.Hash) bool
}

// depthMeter computes levels while go-ethereum executes a block. A value that several transactions read is fetched at
// the earliest of their levels, which a later transaction may have: so the block is executed until no level changes.
type depthMeter struct {
	file    *witnessfile.File
	local   localView
	state   *trie.StateDatabase
	statedb *state.StateDB

	before, keys map[depthKey]*level // the earliest level of each key: in the execution before, and in this one
	storage      map[depthKey]*level // of slots written in this block
	transient    map[depthKey]*level // by TSTORE in this transaction
	created      map[common.Address]*level
	frames       []*depthFrame
	calling      *depthCall // the call that the next frame is
}

// measureDepth returns the level of the last of the keys that a block reads, siblings of deleted nodes included; nil if its
// witness is incomplete.
func measureDepth(file *witnessfile.File, l *listing, local localView) (*level, error) {
	m := &depthMeter{file: file, local: local, before: make(map[depthKey]*level)}
	for last := -1; ; {
		err := m.execute()
		if m.state.Err() != nil {
			return nil, nil // the witness lacks something, so the rest of the execution means nothing
		}
		if err != nil {
			return nil, fmt.Errorf("depth of block %d: %w", file.Number, err)
		}
		sum := 0
		for _, l := range m.keys {
			sum += l.trips
		}
		m.before = m.keys
		if sum == last {
			break
		}
		last = sum
	}
	return m.deepest(l), nil
}

// deepest looks at the keys in the listing only: a transaction may name more than is read.
func (m *depthMeter) deepest(l *listing) (last *level) {
	hashed := make(map[stateKey]*level)
	for key, at := range m.before {
		owner, name := crypto.Keccak256Hash(key.addr[:]), crypto.Keccak256Hash(key.slot[:])
		switch key.kind {
		case 'c':
			last = latest(last, at)
		case 'a':
			hashed[stateKey{key: owner}] = at
		default:
			hashed[stateKey{owner, name}] = at
		}
	}
	for key := range l.keys {
		last = latest(last, hashed[key]) // known if it is in the store
	}
	for _, sibling := range l.siblings {
		if len(sibling.Path) > 0 && !m.local.hasNode(sibling) {
			last = latest(last, siblingLevel(l, hashed, sibling))
		}
	}
	return last
}

// siblingLevel is the level of a sibling: it is fetched when some key is there that shares its parent.
func siblingLevel(l *listing, keys map[stateKey]*level, sibling trie.Fault) *level {
	parent := string(sibling.Path[:len(sibling.Path)-1])
	var first *level
	found := false
	for key := range l.keys {
		if at := keys[key]; key.owner == sibling.Owner && (!found || at.after() < first.after()) && strings.HasPrefix(string(trie.Nibbles(key.key)), parent) {
			first, found = at, true
		}
	}
	return &level{first.after() + 1, depthKey{kind: 'n'}, first}
}

// execute executes the block once on its witness.
func (m *depthMeter) execute() error {
	m.state = trie.Open(context.Background(), m.file.PreRoot, nil, m.file)
	var err error
	if m.statedb, err = state.New(m.file.PreRoot, m.state); err != nil {
		return err
	}
	m.keys, m.storage, m.created = make(map[depthKey]*level), make(map[depthKey]*level), make(map[common.Address]*level)
	m.static()
	chain := depthChain{m.file, beacon.New(ethash.NewFaker())}
	_, err = core.NewStateProcessor(chain).Process(context.Background(), m.file.Block, m.statedb, core.NewJumpDestCache(),
		vm.NewPrecompileCache(), vm.Config{Tracer: m.hooks()}, nil)
	return err
}

// static requests what the block names.
func (m *depthMeter) static() {
	block := m.file.Block
	signer := types.MakeSigner(m.file.Config, block.Number(), block.Time())
	m.account(block.Coinbase(), known)
	for _, tx := range block.Transactions() {
		if from, err := types.Sender(signer, tx); err == nil {
			m.account(from, known)
		}
		for _, tuple := range tx.AccessList() {
			m.account(tuple.Address, known)
			for _, slot := range tuple.StorageKeys {
				m.slot(tuple.Address, slot, known)
			}
		}
		for _, auth := range tx.SetCodeAuthorizations() {
			if from, err := auth.Authority(); err == nil {
				m.account(from, known)
			}
		}
	}
	for _, withdrawal := range block.Withdrawals() {
		m.account(withdrawal.Address, known)
	}
}

// request notes that a key can be fetched when what it was computed from is known, and returns when it is there.
func (m *depthMeter) request(key depthKey, from *level) *level {
	at := &level{from.after() + 1, key, from}
	if earlier, ok := m.keys[key]; !ok || at.trips < earlier.trips {
		m.keys[key] = at
	}
	if earlier, ok := m.before[key]; ok && earlier.trips < at.trips {
		return earlier
	}
	return at
}

// account returns when an account is known whose address is known at a level.
func (m *depthMeter) account(addr common.Address, from *level) *level {
	if at, ok := m.created[addr]; ok {
		return at
	}
	if m.local.hasAccount(addr) {
		return from
	}
	return m.request(depthKey{kind: 'a', addr: addr}, from)
}

// slot returns when a slot is there whose key is known at a level.
func (m *depthMeter) slot(addr common.Address, slot common.Hash, from *level) *level {
	if m.local.hasSlot(addr, slot) {
		return from
	}
	return m.request(depthKey{'s', addr, slot}, from)
}

// code returns when the code of an account can be run.
func (m *depthMeter) code(addr common.Address, from *level) *level {
	if at, ok := m.created[addr]; ok {
		return at
	}
	account, code := m.account(addr, from), m.statedb.GetCode(addr)
	if len(code) == 0 {
		return account
	}
	hash := m.statedb.GetCodeHash(addr)
	at := account
	if m.local.knowsCode(addr, hash) {
		at = from
	}
	if !m.local.hasCode(hash) {
		at = m.request(depthKey{kind: 'c', slot: hash}, at)
	}
	if target, ok := types.ParseDelegation(code); ok {
		return latest(at, m.code(target, at))
	}
	return at
}

// storedView is what a client has before a block.
type storedView struct {
	*client
	file  *witnessfile.File
	roots map[common.Address]*common.Hash // of storage, by account; nil: the account is missing
	slots map[depthKey]bool
}

func newStoredView(c *client, file *witnessfile.File) *storedView {
	return &storedView{client: c, file: file, roots: make(map[common.Address]*common.Hash), slots: make(map[depthKey]bool)}
}

func (v *storedView) root(addr common.Address) *common.Hash {
	root, known := v.roots[addr]
	if !known {
		hash := crypto.Keccak256Hash(addr[:])
		if _, missing, err := trie.Lookup(v.store, v.file.PreRoot, common.Hash{}, v.file.PreRoot, hash); missing == nil && err == nil {
			if found, err := storageRoot(v.store, v.file.PreRoot, hash); err == nil {
				root = &found
			}
		}
		v.roots[addr] = root
	}
	return root
}

func (v *storedView) hasAccount(addr common.Address) bool { return v.root(addr) != nil }

func (v *storedView) hasSlot(addr common.Address, slot common.Hash) bool {
	key := depthKey{'s', addr, slot}
	stored, known := v.slots[key]
	if root := v.root(addr); !known && root != nil {
		_, missing, err := trie.Lookup(v.store, v.file.PreRoot, crypto.Keccak256Hash(addr[:]), *root, crypto.Keccak256Hash(slot[:]))
		stored = missing == nil && err == nil
		v.slots[key] = stored
	}
	return stored
}

func (v *storedView) hasCode(hash common.Hash) bool {
	code, err := v.store.Code(hash)
	return err == nil && len(code) > 0
}

func (v *storedView) hasNode(fault trie.Fault) bool {
	blob, err := v.store.Node(fault.Owner, fault.Path, fault.Hash)
	return err == nil && len(blob) > 0
}

func (v *storedView) knowsCode(addr common.Address, code common.Hash) bool {
	seen, ok := v.executor.SeenCode(addr)
	return ok && seen == code
}

func (v *storedView) knowsSlot(addr common.Address, slot common.Hash, value func() common.Hash) bool {
	seen, ok := v.executor.SeenSlot(addr, slot)
	return ok && seen == value()
}

// depthChain implements core.ChainContext over a witness.
type depthChain struct {
	file   *witnessfile.File
	engine consensus.Engine
}

func (c depthChain) Config() *params.ChainConfig  { return c.file.Config }
func (c depthChain) Engine() consensus.Engine     { return c.engine }
func (c depthChain) CurrentHeader() *types.Header { return c.file.Parent }

func (c depthChain) GetHeader(hash common.Hash, number uint64) *types.Header {
	if hash == c.file.Block.ParentHash() {
		return c.file.Parent
	}
	header, _ := c.file.Header(context.Background(), hash, number)
	return header
}

func (c depthChain) GetHeaderByHash(common.Hash) *types.Header { return nil }
func (c depthChain) GetHeaderByNumber(uint64) *types.Header    { return nil }
