// SPDX-License-Identifier: LGPL-3.0-or-later

package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
)

// GenesisMismatchError says that a store belongs to another network.
type GenesisMismatchError struct {
	Stored, New common.Hash
}

func (e *GenesisMismatchError) Error() string {
	return fmt.Sprintf("database belongs to another network: its genesis block is %s, the configured one is %s", e.Stored.Hex(), e.New.Hex())
}

// ErrDamaged says that a store contradicts itself: something of it was lost. See [Salvage].
var ErrDamaged = errors.New("database is damaged")

// New opens the chain of a network over a store. An empty store becomes that network's;
// a store of another network is refused with a [GenesisMismatchError]. The configuration
// of a network may change as long as no fork it changes was passed by the head;
// otherwise the error is a *params.ConfigCompatError. If the store contradicts itself, the error wraps [ErrDamaged].
// The genesis state itself is not computed nor kept, only its description.
func New(store Store, genesis *core.Genesis) (*Chain, error) {
	c, err := newChain(store, genesis)
	if err != nil {
		return nil, err
	}
	markers := store.Markers()
	stored := store.CanonicalHash(0)
	switch {
	case stored == (common.Hash{}) && markers.Head == (common.Hash{}):
		return c, c.create(genesis)
	case stored == (common.Hash{}):
		return nil, fmt.Errorf("%w: it has a head, %s, but no genesis block", ErrDamaged, markers.Head.Hex())
	case stored != c.genesis.Hash():
		return nil, &GenesisMismatchError{Stored: stored, New: c.genesis.Hash()}
	}
	return c, c.load(markers)
}

// newChain checks the genesis.
func newChain(store Store, genesis *core.Genesis) (*Chain, error) {
	if genesis == nil || genesis.Config == nil {
		return nil, errors.New("genesis has no chain configuration")
	}
	if genesis.Number != 0 {
		return nil, fmt.Errorf("genesis block has number %d, want 0", genesis.Number)
	}
	if err := genesis.Config.CheckConfigForkOrder(); err != nil {
		return nil, fmt.Errorf("genesis configuration: %w", err)
	}
	return &Chain{
		store:    store,
		config:   genesis.Config,
		genesis:  genesis.ToBlock(),
		headers:  lru.NewCache[common.Hash, *types.Header](headerCache),
		blocks:   lru.NewCache[common.Hash, *types.Block](blockCache),
		receipts: lru.NewCache[common.Hash, types.Receipts](receiptCache),
		damaged:  newDamagedBlocks(),
	}, nil
}

// create writes the genesis block into an empty store.
func (c *Chain) create(genesis *core.Genesis) error {
	alloc, err := json.Marshal(genesis.Alloc)
	if err != nil {
		return fmt.Errorf("encode genesis state: %w", err)
	}
	hash := c.genesis.Hash()
	markers := Markers{Head: hash}
	err = c.store.Apply(&Update{
		Genesis:   &GenesisRecord{Hash: hash, Config: c.config, Alloc: alloc},
		Blocks:    []*types.Block{c.genesis},
		Executed:  []Execution{{Block: c.genesis, Receipts: types.Receipts{}}},
		Canonical: map[uint64]common.Hash{0: hash},
		Markers:   &markers,
	})
	if err != nil {
		return fmt.Errorf("write genesis block: %w", err)
	}
	c.cache(c.genesis)
	c.snapshot.Store(&snapshot{Markers: markers, head: c.genesis.Header()})
	return nil
}

// load restores the canonical chain from the store.
func (c *Chain) load(markers Markers) error {
	c.cache(c.genesis)
	head := c.Header(markers.Head)
	if head == nil {
		return fmt.Errorf("%w: header of its head block %s is missing", ErrDamaged, markers.Head.Hex())
	}
	number := head.Number.Uint64()
	if at := c.store.CanonicalHash(number); at != markers.Head {
		return fmt.Errorf("%w: head is %s, but the canonical block %d is %s", ErrDamaged, markers.Head.Hex(), number, at.Hex())
	}
	if markers.Tail > markers.Oldest || markers.Oldest > number {
		return fmt.Errorf("%w: tail %d, oldest block %d, head %d", ErrDamaged, markers.Tail, markers.Oldest, number)
	}
	c.snapshot.Store(&snapshot{Markers: markers, head: head, segments: c.store.Segments()})

	var update Update
	if old := c.store.Config(c.genesis.Hash()); old == nil || !sameConfig(old, c.config) {
		if err := compatible(old, c.config, head); err != nil {
			return fmt.Errorf("chain configuration differs from the one block %d was executed under: %w", number, err)
		}
		update.Genesis = &GenesisRecord{Hash: c.genesis.Hash(), Config: c.config}
	}
	if c.Status(c.genesis.Hash()) != Executed { // "geth init" made this database
		update.Executed = []Execution{{Block: c.genesis, Receipts: types.Receipts{}}}
	}
	if update.Genesis == nil && update.Executed == nil {
		return nil
	}
	if err := c.store.Apply(&update); err != nil {
		return fmt.Errorf("write chain configuration: %w", err)
	}
	return nil
}

// compatible says whether the configuration may change under this head: no fork that it
// passed may move. With genesis as head all may, as long as the genesis block stays the same.
func compatible(old, config *params.ChainConfig, head *types.Header) error {
	if old == nil || head.Number.Sign() == 0 {
		return nil
	}
	if err := old.CheckCompatible(config, head.Number.Uint64(), head.Time); err != nil {
		return err // not returned as it is: a nil *ConfigCompatError is not a nil error
	}
	return nil
}

func sameConfig(a, b *params.ChainConfig) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
