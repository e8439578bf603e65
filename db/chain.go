package db

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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

// Keys of ours; see the package comment.
const (
	schemaKey      = "sunbeam-schema"
	executedPrefix = "sunbeam-executed-"
	safeKey        = "sunbeam-safe"
	spanKey        = "sunbeam-span"
	spansKey       = "sunbeam-spans"
	phaseKey       = "sunbeam-phase"
)

func executedKey(hash common.Hash, number uint64) []byte {
	key := binary.BigEndian.AppendUint64([]byte(executedPrefix), number)
	return append(key, hash[:]...)
}

// Chain is the store of blocks and codes. It implements chain.Store.
type Chain struct {
	disk *disk
	db   ethdb.Database // disk with go-ethereum's frozen blocks, if any

	readOnly bool
}

// openChain looks whether chaindata is ours and puts frozen blocks beside it.
func openChain(d *disk, ancient string, readOnly bool) (*Chain, error) {
	if err := checkSchema(d); err != nil {
		return nil, err
	}
	c := &Chain{disk: d, db: rawdb.NewDatabase(d), readOnly: readOnly}
	if ancient == "" || !hasFrozenBlocks(ancient) {
		return c, nil
	}
	db, err := rawdb.Open(d, rawdb.OpenOptions{Ancient: ancient, MetricsNamespace: "eth/db/chaindata/", ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open frozen blocks %s: %w", ancient, err)
	}
	c.db = db
	return c, nil
}

// checkSchema refuses what another client or a later version of this one wrote. The genesis
// block alone ("geth init") is welcome.
func checkSchema(d *disk) error {
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
	if head == (common.Hash{}) {
		return nil
	}
	if number, ok := rawdb.ReadHeaderNumber(d, head); !ok || number != 0 {
		return fmt.Errorf("database %s was written by another client (its head is block %d): use an empty data directory", d.path, number)
	}
	return nil
}

// hasFrozenBlocks looks for items in go-ethereum's freezer: the index of its table of
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

// Holds implements chain.Index.
func (c *Chain) Holds(hash common.Hash, number uint64) (parts chain.Parts) {
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
	if raw, _ := c.disk.lookup([]byte(spanKey)); len(raw) == 16 {
		m.Tail, m.Oldest = binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
	}
	return m
}

// Spans implements chain.Index. What cannot be read is fetched anew.
func (c *Chain) Spans() (spans []chain.Span) {
	raw, _ := c.disk.lookup([]byte(spansKey))
	for ; len(raw) >= 24; raw = raw[24:] {
		spans = append(spans, chain.Span{
			Tail:   binary.BigEndian.Uint64(raw),
			Oldest: binary.BigEndian.Uint64(raw[8:]),
			Top:    binary.BigEndian.Uint64(raw[16:]),
		})
	}
	return spans
}

// Config implements chain.Index.
func (c *Chain) Config(genesis common.Hash) *params.ChainConfig {
	return rawdb.ReadChainConfig(c.db, genesis)
}

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
	for _, past := range u.History {
		rawdb.WriteBlock(b, past.Block)
		rawdb.WriteReceipts(b, past.Block.Hash(), past.Block.NumberU64(), past.Receipts)
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
	if u.Spans != nil {
		if err := putSpans(b, *u.Spans); err != nil {
			return err
		}
	}
	return b.Write()
}

func putSpans(b ethdb.Batch, spans []chain.Span) error {
	var raw []byte
	for _, span := range spans {
		raw = binary.BigEndian.AppendUint64(raw, span.Tail)
		raw = binary.BigEndian.AppendUint64(raw, span.Oldest)
		raw = binary.BigEndian.AppendUint64(raw, span.Top)
	}
	return b.Put([]byte(spansKey), raw)
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
	if m.Finalized != (common.Hash{}) {
		rawdb.WriteFinalizedBlockHash(b, m.Finalized)
	}
	if m.Safe != (common.Hash{}) {
		if err := b.Put([]byte(safeKey), m.Safe[:]); err != nil {
			return err
		}
	}
	span := binary.BigEndian.AppendUint64(nil, m.Tail)
	return b.Put([]byte(spanKey), binary.BigEndian.AppendUint64(span, m.Oldest))
}

// Code finds a contract code; nil if it is not held, or not what its hash says.
func (c *Chain) Code(hash common.Hash) ([]byte, error) {
	code, err := c.disk.lookup(append(append([]byte(nil), rawdb.CodePrefix...), hash[:]...))
	if err != nil || code == nil || crypto.Keccak256Hash(code) != hash {
		return nil, err
	}
	return code, nil
}

// PutCode keeps a verified contract code.
func (c *Chain) PutCode(hash common.Hash, code []byte) error {
	b := c.disk.NewBatch()
	rawdb.WriteCode(b, hash, code)
	return b.Write()
}
