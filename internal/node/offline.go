// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/blockfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// What the command line does without a network.

// Init makes the datadir that of a genesis file's network, and stores its whole state. A datadir that holds another
// network is refused.
func Init(cfg *config.Config, genesis *core.Genesis, log *slog.Logger) error {
	if cfg.Network != "" || cfg.Genesis != "" {
		return errors.New("init takes its network from the genesis file: leave out --network and --override.genesis")
	}
	n := &Node{cfg: *cfg, log: log}
	if err := n.open(nil, ownNetwork(genesis)); err != nil {
		return err
	}
	if n.chain.CurrentHeader().Number.Sign() == 0 {
		if err := n.completeGenesis(context.Background()); err != nil {
			return errors.Join(err, n.Close())
		}
	}
	log.Info("Wrote genesis block", "hash", n.chain.Genesis().Hash(), "chain_id", genesis.Config.ChainID, "datadir", cfg.DataDir)
	return n.Close()
}

// Import executes the blocks in RLP files, one after the other, on the state that is
// stored: that of genesis to begin with. The node is a full one afterwards, with the states of the newest blocks, unless
// it was beaming before. Blocks that were executed before are skipped. After a file that fails, Import goes on with the next
// one, as geth does; the error names the first one and says how many failed.
func Import(ctx context.Context, cfg *config.Config, files []string, log *slog.Logger) (err error) {
	if err := checkImportFiles(cfg, files); err != nil { // before anything is made
		return err
	}
	n := &Node{cfg: *cfg, log: log}
	if err := n.open(nil, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.fillFromGenesis(ctx); err != nil {
		return err
	}
	err = n.importFiles(ctx, files)
	if n.chain.CurrentHeader().Number.Sign() == 0 && n.store.Err() == nil { // nothing imported: its network may be years old
		err = errors.Join(err, n.store.UnmarkFull())
	}
	return err
}

// importFiles executes the blocks of all files.
func (n *Node) importFiles(ctx context.Context, files []string) error {
	importer := importer.New(importer.Config{
		Chain:    n.chain,
		Executor: evm.NewExecutor(n.chain.Config()),
		Local:    n.local,
		Blocks:   offline{},
		Session:  func() importer.StateSession { return offline{} },
		MaxLag:   uint64(n.cfg.Beam.MaxLag),
		States:   n.loaded.states,
		Lowest:   n.loaded.lowest,
		Log:      n.log,
		Quiet:    true,
	})
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.store.Run(ctx) })
	group.Go(func() error { return n.endIfDamaged(ctx) })
	group.Go(func() error { return importer.Run(ctx) })
	group.Go(func() error {
		defer cancel()
		var first error
		failed := 0
		for _, file := range files {
			err := n.importFile(ctx, importer, file)
			if err == nil {
				continue
			}
			if ctx.Err() != nil {
				return err
			}
			if len(files) > 1 {
				n.log.Error("Import of a file failed", "file", file, "err", err)
			}
			first = cmp.Or(first, fmt.Errorf("import %s: %w", file, err))
			failed++
		}
		if failed > 1 {
			return fmt.Errorf("%w (%d of %d files failed)", first, failed, len(files))
		}
		return first
	})
	return group.Wait()
}

// endIfDamaged returns an error if the state on disk turns out to be damaged: there are no peers to fetch from.
func (n *Node) endIfDamaged(ctx context.Context) error {
	select {
	case <-n.store.DamageFound():
		what := fmt.Sprintf("%s: missing or wrong: %s", n.chaindata(), n.store.FirstDamage())
		if err := n.store.MarkDamaged(what); err != nil {
			return err
		}
		return fmt.Errorf("database is damaged: %s: run the node, so that it fetches this from peers", what)
	case <-ctx.Done():
		return nil
	}
}

// importFile executes one file's blocks.
func (n *Node) importFile(ctx context.Context, importer *importer.Importer, name string) error {
	file, err := blockfile.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	executed, skipped := 0, 0
	report := importReport{log: n.log, file: name, since: time.Now()}
	for at := 0; ; at++ {
		block, err := file.Next()
		switch {
		case errors.Is(err, io.EOF):
			n.log.Info("Imported blocks", "file", name, "executed", executed, "skipped", skipped, "head", n.chain.CurrentHeader().Number)
			return nil
		case err != nil:
			return fmt.Errorf("block at position %d: %w", at, err)
		}
		if block.NumberU64() == 0 || n.chain.Status(block.Hash()) == chain.Executed {
			skipped++
			continue
		}
		if err := n.importBlock(ctx, importer, block); err != nil {
			return err
		}
		executed++
		report.add(block, time.Now())
	}
}

// importInterval is how often an import is logged, as in geth.
const importInterval = 8 * time.Second

// importReport logs what was imported: a line every importInterval.
type importReport struct {
	log    *slog.Logger
	file   string
	since  time.Time
	blocks int
	txs    int
	gas    uint64
}

// add counts a block that was executed until now.
func (r *importReport) add(block *types.Block, now time.Time) {
	r.blocks, r.txs, r.gas = r.blocks+1, r.txs+len(block.Transactions()), r.gas+block.GasUsed()
	elapsed := now.Sub(r.since)
	if elapsed < importInterval {
		return
	}
	r.log.Info("Importing blocks", "file", r.file, "number", block.Number(), "hash", block.Hash(), "blocks", r.blocks, "txs", r.txs,
		"mgas", float64(r.gas)/1e6, "elapsed", elapsed.Round(time.Millisecond), "mgasps", float64(r.gas)/1e6/elapsed.Seconds())
	*r = importReport{log: r.log, file: r.file, since: now}
}

// importBlock executes a block whose parent was executed, and makes it the head.
func (n *Node) importBlock(ctx context.Context, blocks *importer.Importer, block *types.Block) error {
	if n.chain.Status(block.ParentHash()) != chain.Executed {
		return fmt.Errorf("block %d: its parent %s was not executed here", block.NumberU64(), block.ParentHash().Hex())
	}
	outcome := blocks.NewPayload(ctx, block)
	var err error
	if outcome.Status == importer.Valid {
		outcome, err = blocks.Forkchoice(ctx, importer.Forkchoice{Head: block.Hash()})
	}
	switch {
	case err != nil:
		return fmt.Errorf("block %d: %w", block.NumberU64(), err)
	case outcome.Status == importer.Valid:
		return nil
	case outcome.Status == importer.Invalid:
		return fmt.Errorf("block %d is invalid: %w", block.NumberU64(), outcome.Reason)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("block %d could not be executed: %w", block.NumberU64(), errOffline)
}

// errOffline says that what is missing cannot be fetched.
var errOffline = fmt.Errorf("%w: not held, and this command asks no peers", trie.ErrUnavailable)

// offline answers for peers that are not there.
type offline struct{}

func (offline) FetchNode(context.Context, trie.Fault) ([]byte, error)  { return nil, errOffline }
func (offline) FetchCode(context.Context, common.Hash) ([]byte, error) { return nil, errOffline }
func (offline) Hint(context.Context, []trie.Fault, []common.Hash, func()) error {
	return errOffline
}
func (offline) Stats() trie.FetchStats { return trie.FetchStats{} }
func (offline) Headers(context.Context, common.Hash, int) ([]*types.Header, error) {
	return nil, errOffline
}

func (offline) Bodies(context.Context, []*types.Header) ([]*types.Block, error) {
	return nil, errOffline
}

func (offline) AccessLists(context.Context, []*types.Header) ([]rlp.RawValue, error) {
	return nil, errOffline
}

// Stats prints what the databases hold. It changes nothing.
func Stats(ctx context.Context, cfg *config.Config, _ *slog.Logger, out io.Writer) (err error) {
	store, err := openStore(cfg, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stats, err := store.Stats(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "store\tkind\tcount\tbytes\t")
	for _, stat := range stats {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t\n", stat.Store, stat.Kind, stat.Count, stat.Bytes)
	}
	return table.Flush()
}

// Verify reads the whole state on disk and prints whether it is complete. That it is not is an error. It
// changes nothing. Progress is logged.
func Verify(ctx context.Context, cfg *config.Config, log *slog.Logger, out io.Writer) (err error) {
	store, err := openStore(cfg, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	verdict, err := store.VerifyState(ctx, func(p db.VerifyProgress) {
		log.Info("Verifying state", "share", fmt.Sprintf("%.2f%%", 100*p.Share), "nodes", p.Nodes, "nodes_per_second", uint64(p.Rate), "eta", p.ETA)
	})
	if err != nil {
		return err
	}
	if !verdict.Complete() {
		return fmt.Errorf("%s: %s", cfg.DataDir, verdict)
	}
	_, err = fmt.Fprintf(out, "%s\n%s\n", verdict, verifiedBlock(store.Chain(), verdict.Root))
	return err
}

// verifiedBlock says of which block the state on disk is: that of a full node is below the states of the newest blocks.
func verifiedBlock(chain *db.Chain, root common.Hash) string {
	markers := chain.Markers()
	head, ok := chain.Number(markers.Head)
	for number := head; ok; number-- {
		hash := chain.CanonicalHash(number)
		header := chain.Header(hash, number)
		switch {
		case header != nil && header.Root == root && number == head:
			return fmt.Sprintf("it is the state of the head, block %d, %s", number, hash.Hex())
		case header != nil && header.Root == root:
			return fmt.Sprintf("it is the state of block %d, %s; what the %d newer blocks changed is in the journal of the trie database, which is not verified",
				number, hash.Hex(), head-number)
		}
		if number <= markers.Oldest || number == 0 {
			break
		}
	}
	return "it is the state of no block that is stored"
}
