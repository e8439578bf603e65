// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/era"
)

// unknownNetwork is what geth calls networks without a name, in the names of archives.
const unknownNetwork = "unknown"

// archiveNetwork is the name of a network in the names of archives.
func archiveNetwork(config *params.ChainConfig) string {
	if name, ok := params.NetworkNames[config.ChainID.String()]; ok {
		return name
	}
	return unknownNetwork
}

// ImportHistory stores the blocks and receipts in the era1 or ere archives of a directory, without executing them. A datadir that
// has no blocks yet is served from them as soon as its chain, growing downward, reaches the newest one by its hash. An empty format takes
// the archives that are there.
func ImportHistory(ctx context.Context, cfg *config.Config, dir string, format era.Format, log *slog.Logger) (err error) {
	if _, err := os.ReadDir(dir); err != nil { // before anything is made
		return fmt.Errorf("import-history: %w", err)
	}
	n := &Node{cfg: *cfg, log: log}
	if err := n.open(nil, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	archives, err := era.ReadDir(dir, archiveNetwork(n.chain.Config()))
	if err != nil {
		return fmt.Errorf("import-history: %w", err)
	}
	if have := archives[0].Format; format != "" && have != format {
		return fmt.Errorf("import-history: %s has %s archives, --era.format says %s", dir, have, format)
	}
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.store.Run(ctx) })
	group.Go(func() error {
		defer cancel()
		return n.importArchives(ctx, archives)
	})
	return group.Wait()
}

func (n *Node) importArchives(ctx context.Context, archives []era.Entry) error {
	r := &archiveReport{log: n.log, archives: len(archives), began: time.Now(), reported: time.Now()}
	for _, entry := range archives {
		if err := n.importArchive(ctx, entry, r); err != nil {
			return fmt.Errorf("import-history: %s: %w", filepath.Base(entry.Path), err)
		}
		r.done++
	}
	if err := n.chain.JoinHistory(); err != nil {
		return err
	}
	n.log.Info("Imported history", "archives", r.done, "skipped", r.skipped, "blocks", r.blocks, "elapsed", time.Since(r.began).Round(time.Millisecond))
	if oldest := n.chain.Oldest(); oldest > r.top {
		n.log.Info("Imported blocks are served when the chain reaches them: run the node with --history.chain all", "highest", r.top, "oldest", oldest)
	}
	return nil
}

// importArchive verifies an archive and stores what is not here yet.
func (n *Node) importArchive(ctx context.Context, entry era.Entry, r *archiveReport) (err error) {
	archive, err := era.Open(entry.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	linked, err := archive.Headers()
	if err != nil {
		return err
	}
	if linked.ID != entry.ID {
		return fmt.Errorf("its content has the id %s, not that of its name", linked.ID)
	}
	first, last := archive.First(), archive.First()+uint64(archive.Count())-1
	switch head := n.chain.CurrentHeader().Number.Uint64(); {
	case n.chain.HasHistory(first, last, linked.Last):
		r.skipped++
		r.top = max(r.top, last)
		return nil
	case head > 0 && first > head:
		n.log.Info("Skipped an archive of blocks above the head: they come from peers", "archive", filepath.Base(entry.Path), "first", first, "head", head)
		r.skipped++
		return nil
	}
	if err := n.checkParent(first, linked.Parent); err != nil {
		return err
	}
	if entry.Checksum != "" {
		have, err := era.Sum(entry.Path)
		if err != nil {
			return err
		}
		if have != entry.Checksum {
			return fmt.Errorf("checksum mismatch: have %s, want %s", have, entry.Checksum)
		}
	}
	return archive.Blocks(ctx, func(run []*era.Block) error {
		blocks, receipts := make([]*types.Block, len(run)), make([]types.Receipts, len(run))
		for i, block := range run {
			blocks[i], receipts[i] = block.Block, block.Receipts
		}
		if err := n.chain.ImportHistory(blocks, receipts); err != nil {
			return err
		}
		r.add(blocks)
		return ctx.Err()
	})
}

// checkParent compares the block below an archive with that which is stored.
func (n *Node) checkParent(first uint64, parent common.Hash) error {
	if first == 0 {
		return nil // chain.ImportHistory compares genesis
	}
	below := n.chain.HistoryHash(first - 1)
	if below == (common.Hash{}) {
		n.log.Warn("The block below an archive is not stored: import the archives before it, too", "first", first)
		return nil
	}
	if below != parent {
		return fmt.Errorf("block %d has parent %x, the stored block %d is %x: %w", first, parent, first-1, below, chain.ErrNotCanonical)
	}
	return nil
}

// archiveReport logs how far the import of archives is.
type archiveReport struct {
	log             *slog.Logger
	archives        int // in all
	done            int // until now, those that were skipped included
	skipped         int
	blocks          int
	top             uint64 // highest block
	began, reported time.Time
	last            int // blocks at the last line
}

func (r *archiveReport) add(blocks []*types.Block) {
	r.blocks += len(blocks)
	r.top = max(r.top, blocks[len(blocks)-1].NumberU64())
	now := time.Now()
	elapsed := now.Sub(r.reported)
	if elapsed < importInterval {
		return
	}
	r.log.Info("Importing history", "number", r.top, "archive", fmt.Sprintf("%d of %d", r.done+1, r.archives), "blocks", r.blocks,
		"per_second", int(float64(r.blocks-r.last)/elapsed.Seconds()), "elapsed", now.Sub(r.began).Round(time.Second))
	r.reported, r.last = now, r.blocks
}
