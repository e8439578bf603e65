// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
)

const (
	// recheckInterval is how often the pool is compared with the users' transactions. go-ethereum waits a minute; a
	// beaming node may have had no account to validate a transaction with.
	recheckInterval = 15 * time.Second
	// retryInterval is for transactions that could not be validated, because accounts could not be read.
	retryInterval = 2 * time.Second
	// maxLocals bounds the users' transactions that are kept: three times what the pool holds by default.
	maxLocals = 1 << 14
)

// Locals configures how users' transactions are kept. They stay until they are mined or replaced, whatever becomes of
// them in the pool, and through a restart. Those with blobs are not among them: the blob pool is on disk.
type Locals struct {
	Disabled  bool
	Journal   string        // file, in go-ethereum's format (a sequence of RLP); empty: they are kept in memory
	Rejournal time.Duration // how often the journal is written anew without what was mined; zero: an hour
}

// locals are the users' transactions.
type locals struct {
	cfg    Locals
	log    *slog.Logger
	signer types.Signer

	mu      sync.Mutex
	senders map[common.Address]map[uint64]*types.Transaction // by nonce
	count   int
	file    *os.File // the journal, open for appending; nil: none, or it could not be opened
}

func newLocals(cfg Locals, signer types.Signer, log *slog.Logger) *locals {
	if cfg.Rejournal <= 0 {
		cfg.Rejournal = time.Hour
	}
	return &locals{cfg: cfg, log: log, signer: signer, senders: make(map[common.Address]map[uint64]*types.Transaction)}
}

// track keeps a user's transaction, in place of one with the same nonce.
func (l *locals) track(tx *types.Transaction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.putLocked(tx) || l.file == nil {
		return
	}
	enc, err := rlp.EncodeToBytes(tx)
	if err == nil {
		_, err = l.file.Write(enc)
	}
	if err != nil {
		l.log.Warn("Failed to write transaction to the journal", "path", l.cfg.Journal, "hash", tx.Hash(), "err", err)
	}
}

// putLocked returns false for a transaction that is known, or that is not kept.
func (l *locals) putLocked(tx *types.Transaction) bool {
	from, err := types.Sender(l.signer, tx)
	if err != nil || tx.Type() == types.BlobTxType {
		return false
	}
	old := l.senders[from][tx.Nonce()]
	switch {
	case old != nil && old.Hash() == tx.Hash():
		return false
	case old == nil && l.count >= maxLocals:
		return false
	case old == nil:
		l.count++
	}
	if l.senders[from] == nil {
		l.senders[from] = make(map[uint64]*types.Transaction)
	}
	l.senders[from][tx.Nonce()] = tx
	return true
}

// addresses are the senders.
func (l *locals) addresses() []common.Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.senders))
}

// forward drops the transactions of a sender below a nonce: they are mined, or were replaced.
func (l *locals) forward(from common.Address, nonce uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := range l.senders[from] {
		if at < nonce {
			delete(l.senders[from], at)
			l.count--
		}
	}
	if len(l.senders[from]) == 0 {
		delete(l.senders, from)
	}
}

// all returns the transactions, those of a sender in the order of their nonces.
func (l *locals) all() (txs []*types.Transaction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.senders {
		for _, nonce := range slices.Sorted(maps.Keys(list)) {
			txs = append(txs, list[nonce])
		}
	}
	return txs
}

// load reads the journal and opens it for appending. A journal that ends in the middle of a transaction, or is damaged
// there, is used as far as it goes.
func (l *locals) load() {
	if l.cfg.Journal == "" {
		return
	}
	content, err := os.ReadFile(l.cfg.Journal)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("Failed to read the transaction journal", "path", l.cfg.Journal, "err", err)
		return // it stays as it is
	}
	stream, loaded := rlp.NewStream(bytes.NewReader(content), 0), 0
	for {
		tx := new(types.Transaction)
		if err = stream.Decode(tx); err != nil {
			break
		}
		l.mu.Lock()
		l.putLocked(tx)
		l.mu.Unlock()
		loaded++
	}
	if !errors.Is(err, io.EOF) {
		l.log.Warn("Transaction journal is damaged, using its beginning", "path", l.cfg.Journal, "transactions", loaded, "err", err)
	}
	if loaded > 0 {
		l.log.Info("Loaded the transaction journal", "path", l.cfg.Journal, "transactions", loaded)
	}
	l.rotate()
}

// rotate writes the journal anew, with what is kept, and opens it for appending.
func (l *locals) rotate() {
	if l.cfg.Journal == "" {
		return
	}
	var content bytes.Buffer
	txs := l.all()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, tx := range txs {
		if err := rlp.Encode(&content, tx); err != nil {
			l.log.Warn("Failed to write the transaction journal", "path", l.cfg.Journal, "err", err)
			return
		}
	}
	if err := l.replaceLocked(content.Bytes()); err != nil {
		l.log.Warn("Failed to write the transaction journal", "path", l.cfg.Journal, "err", err)
	}
}

func (l *locals) replaceLocked(content []byte) error {
	if err := atomicfile.Write(l.cfg.Journal, content); err != nil {
		return err
	}
	file, err := os.OpenFile(l.cfg.Journal, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if l.file != nil {
		_ = l.file.Close() // it was replaced
	}
	l.file = file
	return nil
}

func (l *locals) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("close transaction journal: %w", err)
	}
	return nil
}

// keepLocals adds the users' transactions to the pool again whenever it lacks them, until ctx ends.
func (p *Pool) keepLocals(ctx context.Context) error {
	if p.locals == nil {
		return nil
	}
	p.locals.load()
	select {
	case <-p.started:
	case <-ctx.Done():
		return p.locals.close()
	}
	rejournal := time.NewTicker(p.locals.cfg.Rejournal)
	defer rejournal.Stop()
	for {
		next := recheckInterval
		if !p.recheckLocals(ctx) {
			next = retryInterval
		}
		select {
		case <-time.After(next):
		case <-rejournal.C:
			p.locals.rotate()
		case <-ctx.Done():
			return p.locals.close()
		}
	}
}

// recheckLocals drops the users' transactions that are mined, and adds those that the pool lacks. It returns false if
// accounts could not be read for all of them.
func (p *Pool) recheckLocals(ctx context.Context) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, gossipTimeout)
	defer cancel()
	how := accountSource{states: p.cfg.Peers}
	senders, cache := p.locals.addresses(), p.at.Load().accounts
	for addr, nonce := range p.nonces(ctx, how, cache, senders) {
		p.locals.forward(addr, nonce)
	}
	lacking := slices.DeleteFunc(p.locals.all(), func(tx *types.Transaction) bool { return p.Has(tx.Hash()) })
	if len(lacking) == 0 {
		return true
	}
	added := 0
	done = true
	for _, err := range p.add(ctx, how, lacking) {
		if err == nil {
			added++
		}
		done = done && !errors.Is(err, ErrUnavailable)
	}
	p.log.Debug("Users' transactions added again", "lacking", len(lacking), "added", added)
	return done
}

// nonces reads the nonces of accounts under the root of a cache, as far as they can be read.
func (p *Pool) nonces(ctx context.Context, how accountSource, cache *accountCache, addrs []common.Address) map[common.Address]uint64 {
	unknown := p.read(ctx, how, cache, addrs)
	nonces := make(map[common.Address]uint64)
	for _, addr := range addrs {
		if unknown[addr] != nil {
			continue
		}
		if account, err := (accountReader{cache}).Account(addr); err == nil && account != nil {
			nonces[addr] = account.Nonce
		}
	}
	return nonces
}
