// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/era"
)

// ExportHistory writes blocks and receipts of the canonical chain into a directory of era1 or ere archives, as geth does. An archive
// appears when it is complete. An empty format is era1 up to the merge, and ere if the last block is after it.
func ExportHistory(ctx context.Context, cfg *config.Config, dir string, first, last uint64, format era.Format, log *slog.Logger) (err error) {
	store, err := openStore(cfg, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	e, err := newHistoryExport(ctx, store.Chain(), log)
	if err != nil {
		return fmt.Errorf("export-history: %s: %w", cfg.DataDir, err)
	}
	if last > e.head {
		return fmt.Errorf("export-history: block %d is larger than the head, block %d", last, e.head)
	}
	if err := e.run(dir, first, last, format); err != nil {
		return fmt.Errorf("export-history: %w", err)
	}
	return nil
}

// historyExport writes archives. It implements era.Source.
type historyExport struct {
	ctx    context.Context //nolint:containedctx // of one command; era.Source takes none
	chain  *db.Chain
	head   uint64
	config *params.ChainConfig
	log    *slog.Logger
	began  time.Time
	report time.Time // last line
	body   *types.Body
	of     common.Hash // whose body it is
}

func newHistoryExport(ctx context.Context, chain *db.Chain, log *slog.Logger) (*historyExport, error) {
	head, ok := chain.Number(chain.Markers().Head)
	if !ok {
		return nil, errors.New("it has no blocks yet")
	}
	config := chain.Config(chain.CanonicalHash(0))
	if config == nil {
		return nil, errors.New("it has no chain configuration")
	}
	return &historyExport{ctx: ctx, chain: chain, head: head, config: config, log: log, began: time.Now(), report: time.Now()}, nil
}

func (e *historyExport) run(dir string, first, last uint64, format era.Format) error {
	top := e.Header(last)
	if top == nil {
		return e.missing(last)
	}
	if format == "" {
		format = era.Era1
		if top.Difficulty.Sign() == 0 && last > 0 {
			format = era.Ere
		}
	}
	td, err := e.totalDifficulty(first)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var sums []string
	for at := first; at <= last; at += era.EpochBlocks {
		sum, err := e.archive(dir, format, at, min(last, at+era.EpochBlocks-1), td)
		if err != nil {
			return err
		}
		sums = append(sums, sum)
		e.progress("Exporting history", min(last, at+era.EpochBlocks-1), last)
	}
	if err := era.WriteChecksums(dir, sums); err != nil {
		return err
	}
	e.log.Info("Exported history", "dir", dir, "first", first, "last", last, "archives", len(sums), "format", string(format), "elapsed", time.Since(e.began).Round(time.Millisecond))
	return nil
}

// totalDifficulty is that of the block before first. Only proof-of-work blocks need it.
func (e *historyExport) totalDifficulty(first uint64) (*big.Int, error) {
	td, header := new(big.Int), e.Header(first)
	switch {
	case header == nil:
		return nil, e.missing(first)
	case header.Difficulty.Sign() == 0:
		return td, nil
	}
	for number := range first {
		header := e.Header(number)
		if header == nil {
			return nil, fmt.Errorf("the total difficulty of block %d is the sum of those below: %w", first, e.missing(number))
		}
		td.Add(td, header.Difficulty)
		e.progress("Adding up the difficulties of earlier blocks", number, first)
	}
	return td, e.ctx.Err()
}

// archive writes one archive and returns its checksum.
func (e *historyExport) archive(dir string, format era.Format, first, last uint64, td *big.Int) (sum string, err error) {
	partial := filepath.Join(dir, fmt.Sprintf("%d.partial", first))
	file, err := os.Create(partial)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(partial)
		}
	}()
	buffered := bufio.NewWriterSize(file, 1<<20)
	id, err := era.Write(buffered, format, e, first, last, td)
	if ctx := e.ctx.Err(); ctx != nil {
		err = ctx // what was not read because of that looks as if it were missing
	}
	if err = errors.Join(err, buffered.Flush(), file.Close()); err != nil {
		return "", err
	}
	if sum, err = era.Sum(partial); err != nil {
		return "", err
	}
	return sum, os.Rename(partial, filepath.Join(dir, era.Name(format, archiveNetwork(e.config), first/era.EpochBlocks, id)))
}

// Header implements era.Source.
func (e *historyExport) Header(number uint64) *types.Header {
	if e.ctx.Err() != nil {
		return nil
	}
	return e.chain.Header(e.chain.CanonicalHash(number), number)
}

// Body implements era.Source.
func (e *historyExport) Body(header *types.Header) *types.Body {
	if hash := header.Hash(); e.of != hash {
		e.of, e.body = hash, e.chain.Body(hash, header.Number.Uint64())
	}
	return e.body
}

// Receipts implements era.Source. The database has no types and no blooms.
func (e *historyExport) Receipts(header *types.Header) types.Receipts {
	receipts, body := e.chain.Receipts(header.Hash(), header.Number.Uint64()), e.Body(header)
	if e.ctx.Err() != nil || body == nil || len(receipts) != len(body.Transactions) {
		return nil
	}
	for i, receipt := range receipts {
		receipt.Type = body.Transactions[i].Type()
		receipt.Bloom = types.CreateBloom(receipt)
	}
	return receipts
}

// missing is the error of a block that is not stored.
func (e *historyExport) missing(number uint64) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("block %d is not stored: the oldest complete block is %d, headers begin at %d (--history.chain)", number, e.chain.Markers().Oldest, e.chain.Markers().Tail)
}

func (e *historyExport) progress(what string, number, last uint64) {
	if now := time.Now(); now.Sub(e.report) >= importInterval {
		e.log.Info(what, "number", number, "of", last, "elapsed", now.Sub(e.began).Round(time.Second))
		e.report = now
	}
}
