// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// schemaVersion counts incompatible changes of our own keys.
const schemaVersion = 1

// Keys of our own; see the package comment.
const (
	ownPrefix      = "sunbeam-"
	schemaKey      = "sunbeam-schema"
	executedPrefix = "sunbeam-executed-"
	safeKey        = "sunbeam-safe"
	boundsKey      = "sunbeam-span"
	segmentsKey    = "sunbeam-spans"
	phaseKey       = "sunbeam-phase"
	flatKey        = "sunbeam-flat"
)

// errLost says that keys of our own are lost.
var errLost = errors.New("database is damaged")

func executedKey(hash common.Hash, number uint64) []byte {
	key := binary.BigEndian.AppendUint64([]byte(executedPrefix), number)
	return append(key, hash[:]...)
}

// Chain stores blocks and contract code. It implements chain.Store.
type Chain struct {
	disk *disk
	db   ethdb.Database // disk with go-ethereum's frozen blocks, if any

	frozen   bool
	readOnly bool
	flat     atomic.Bool // flat state is kept together with the trie nodes: see flat.go
}

// openChain checks that chaindata is ours and opens frozen blocks if there are any. Of a damaged database the check
// would say nothing: its own keys may be lost.
func openChain(d *disk, ancient string, damaged, readOnly bool) (*Chain, error) {
	if err := checkSchema(d, damaged); err != nil {
		return nil, err
	}
	c := &Chain{disk: d, db: rawdb.NewDatabase(d), readOnly: readOnly}
	if err := c.loadFlat(); err != nil {
		return nil, err
	}
	if ancient == "" || !hasFrozenBlocks(ancient) {
		return c, nil
	}
	db, err := rawdb.Open(d, rawdb.OpenOptions{Ancient: ancient, MetricsNamespace: "eth/db/chaindata/", ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open frozen blocks %s: %w (if a file of them is lost or broken: restore it, or remove the datadir's geth/chaindata; what it had is fetched again, if peers have it)", ancient, err)
	}
	c.db, c.frozen = db, true
	return c, nil
}

// checkSchema refuses a database of another client or of a later version of this one. A database
// with only the genesis block ("geth init") is accepted.
func checkSchema(d *disk, damaged bool) error {
	raw, err := d.lookup([]byte(schemaKey))
	if err != nil {
		return err
	}
	if len(raw) == 8 {
		if version := binary.BigEndian.Uint64(raw); version > schemaVersion {
			return fmt.Errorf("database %s has schema version %d, this program knows %d: it was written by a newer version", d.path, version, schemaVersion)
		}
		return nil
	}
	head := rawdb.ReadHeadBlockHash(d)
	if head == (common.Hash{}) || damaged {
		return nil
	}
	own := d.NewIterator([]byte(ownPrefix), nil)
	defer own.Release()
	if own.Next() {
		return fmt.Errorf("%w: it lost its schema version", errLost)
	}
	if number, ok := rawdb.ReadHeaderNumber(d, head); !ok || number != 0 {
		return fmt.Errorf("database %s was written by another client (its head is block %d): use an empty data directory", d.path, number)
	}
	return nil
}

// hasFrozenBlocks says whether go-ethereum's freezer has items: the index of its table of
// hashes has 6 bytes per item and one entry more.
func hasFrozenBlocks(ancient string) bool {
	for _, dir := range []string{filepath.Join(ancient, "chain"), ancient} {
		for _, name := range []string{"hashes.cidx", "hashes.ridx"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Size() > 6 {
				return true
			}
		}
	}
	return false
}

func (c *Chain) close() error {
	var errs []error
	if !c.readOnly {
		errs = append(errs, c.disk.SyncKeyValue())
	}
	return errors.Join(append(errs, c.db.Close())...)
}

// KeyValue is chaindata for what keeps keys of go-ethereum's schema there by itself.
func (c *Chain) KeyValue() ethdb.KeyValueStore { return c.disk }

// Number implements chain.Blocks.
func (c *Chain) Number(hash common.Hash) (uint64, bool) {
	return rawdb.ReadHeaderNumber(c.db, hash)
}

// Header implements chain.Blocks.
func (c *Chain) Header(hash common.Hash, number uint64) *types.Header {
	return rawdb.ReadHeader(c.db, hash, number)
}

// Body implements chain.Blocks.
func (c *Chain) Body(hash common.Hash, number uint64) *types.Body {
	return rawdb.ReadBody(c.db, hash, number)
}

// Receipts implements chain.Blocks.
func (c *Chain) Receipts(hash common.Hash, number uint64) types.Receipts {
	return rawdb.ReadRawReceipts(c.db, hash, number)
}

// AccessList implements chain.Blocks.
func (c *Chain) AccessList(hash common.Hash, number uint64) rlp.RawValue {
	return rawdb.ReadAccessListRLP(c.db, hash, number)
}

// Parts implements chain.Index.
func (c *Chain) Parts(hash common.Hash, number uint64) (parts chain.Parts) {
	if rawdb.HasBody(c.db, hash, number) {
		parts |= chain.HasBody
	}
	if rawdb.HasReceipts(c.db, hash, number) {
		parts |= chain.HasReceipts
	}
	if executed, _ := c.disk.Has(executedKey(hash, number)); executed {
		parts |= chain.IsExecuted
	}
	return parts
}

// CanonicalHash implements chain.Index.
func (c *Chain) CanonicalHash(number uint64) common.Hash {
	return rawdb.ReadCanonicalHash(c.db, number)
}

// Lookup implements chain.Index.
func (c *Chain) Lookup(tx common.Hash) (uint64, bool) {
	number := rawdb.ReadTxLookupEntry(c.db, tx)
	if number == nil {
		return 0, false
	}
	return *number, true
}

// Markers implements chain.Index.
func (c *Chain) Markers() chain.Markers {
	m := chain.Markers{
		Head:      rawdb.ReadHeadBlockHash(c.db),
		Finalized: rawdb.ReadFinalizedBlockHash(c.db),
	}
	if raw, _ := c.disk.lookup([]byte(safeKey)); len(raw) == common.HashLength {
		m.Safe = common.Hash(raw)
	}
	if raw, _ := c.disk.lookup([]byte(boundsKey)); len(raw) == 16 {
		m.Tail, m.Oldest = binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
	}
	return m
}

// Segments implements chain.Index. Segments that cannot be read are fetched again.
func (c *Chain) Segments() (segments []chain.Segment) {
	raw, _ := c.disk.lookup([]byte(segmentsKey))
	for ; len(raw) >= 24; raw = raw[24:] {
		segments = append(segments, chain.Segment{
			Tail:   binary.BigEndian.Uint64(raw),
			Oldest: binary.BigEndian.Uint64(raw[8:]),
			Top:    binary.BigEndian.Uint64(raw[16:]),
		})
	}
	return segments
}

// Config implements chain.Index.
func (c *Chain) Config(genesis common.Hash) *params.ChainConfig {
	return rawdb.ReadChainConfig(c.db, genesis)
}

// Genesis returns the specification that the genesis block was made from.
func (c *Chain) Genesis() (*core.Genesis, error) { return core.ReadGenesis(c.db) }

// Apply implements chain.Store: one batch. The rawdb writers exit the process when a Put
// fails; into a batch, none does.
func (c *Chain) Apply(u *chain.Update) error {
	b := c.disk.NewBatch()
	if u.Genesis != nil {
		if err := putGenesis(b, u.Genesis); err != nil {
			return err
		}
	}
	for _, header := range u.Headers {
		rawdb.WriteHeader(b, header)
	}
	for _, block := range u.Blocks {
		rawdb.WriteBlock(b, block)
	}
	for _, done := range u.Executed {
		hash, number := done.Block.Hash(), done.Block.NumberU64()
		rawdb.WriteReceipts(b, hash, number, done.Receipts)
		if err := b.Put(executedKey(hash, number), []byte{1}); err != nil {
			return err
		}
	}
	for _, old := range u.History {
		rawdb.WriteBlock(b, old.Block)
		rawdb.WriteReceipts(b, old.Block.Hash(), old.Block.NumberU64(), old.Receipts)
	}
	for number, hash := range u.Canonical {
		if hash == (common.Hash{}) {
			rawdb.DeleteCanonicalHash(b, number)
		} else {
			rawdb.WriteCanonicalHash(b, hash, number)
		}
	}
	rawdb.DeleteTxLookupEntries(b, u.Unindex)
	for _, txs := range u.Index {
		rawdb.WriteTxLookupEntries(b, txs.Number, txs.Hashes)
	}
	if u.Markers != nil {
		if err := putMarkers(b, *u.Markers); err != nil {
			return err
		}
	}
	if u.Segments != nil {
		if err := putSegments(b, *u.Segments); err != nil {
			return err
		}
	}
	return b.Write()
}

func putSegments(b ethdb.Batch, segments []chain.Segment) error {
	var raw []byte
	for _, segment := range segments {
		raw = binary.BigEndian.AppendUint64(raw, segment.Tail)
		raw = binary.BigEndian.AppendUint64(raw, segment.Oldest)
		raw = binary.BigEndian.AppendUint64(raw, segment.Top)
	}
	return b.Put([]byte(segmentsKey), raw)
}

func putGenesis(b ethdb.Batch, g *chain.GenesisRecord) error {
	rawdb.WriteChainConfig(b, g.Hash, g.Config)
	rawdb.WriteDatabaseVersion(b, core.BlockChainVersion)
	if g.Alloc != nil {
		rawdb.WriteGenesisStateSpec(b, g.Hash, g.Alloc)
	}
	return b.Put([]byte(schemaKey), binary.BigEndian.AppendUint64(nil, schemaVersion))
}

func putMarkers(b ethdb.Batch, m chain.Markers) error {
	rawdb.WriteHeadHeaderHash(b, m.Head)
	rawdb.WriteHeadBlockHash(b, m.Head)
	rawdb.WriteHeadFastBlockHash(b, m.Head)
	rawdb.WriteFinalizedBlockHash(b, m.Finalized)
	if err := b.Put([]byte(safeKey), m.Safe[:]); err != nil {
		return err
	}
	bounds := binary.BigEndian.AppendUint64(nil, m.Tail)
	return b.Put([]byte(boundsKey), binary.BigEndian.AppendUint64(bounds, m.Oldest))
}

// Code returns a contract code; nil if it is absent or corrupt.
func (c *Chain) Code(hash common.Hash) ([]byte, error) {
	code, err := c.disk.lookup(append(append([]byte(nil), rawdb.CodePrefix...), hash[:]...))
	if err != nil || code == nil || crypto.Keccak256Hash(code) != hash {
		return nil, err
	}
	return code, nil
}

// PutCode stores a verified contract code.
func (c *Chain) PutCode(hash common.Hash, code []byte) error {
	b := c.disk.NewBatch()
	rawdb.WriteCode(b, hash, code)
	return b.Write()
}

// Property returns the statistics of the engine, as text.
func (c *Chain) Property() (string, error) { return c.db.Stat() }
