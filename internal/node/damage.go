// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
)

// repairTimeout is how long a node with a damaged database waits for peers: from the moment at which a block or a query
// needs what is missing, until one sends any of it.
const repairTimeout = time.Minute

func (n *Node) chaindata() string { return filepath.Join(n.cfg.InstanceDir(), "chaindata") }

// reportDamage logs what was found while the databases were opened.
func (n *Node) reportDamage() {
	for _, path := range n.store.SetAside() {
		n.logSetAside(path, nil)
	}
	if damage, known := n.store.Damage(); known {
		n.lost = damage.Tables || damage.Repair
		n.log.Warn("Database is damaged: beaming on what is intact, and fetching the rest from peers", "found", damage.What,
			"since", damage.Found.Format(time.DateTime))
	}
}

func (n *Node) logSetAside(path string, cause error) {
	n.log.Warn("Set aside a damaged store that can be made anew", "path", path, "err", cause)
}

// openBlocks opens the chain. What a damaged database still has of it is salvaged.
func (n *Node) openBlocks(known lastKnown) (err error) {
	genesis := n.network.genesis
	damage, damaged := n.store.Damage()
	if !damaged || !damage.Tables {
		n.chain, err = chain.New(n.store.Chain(), genesis)
		if !errors.Is(err, chain.ErrDamaged) || n.store.Err() != nil {
			return n.warnLowerHead(known, err)
		}
		n.log.Warn("Blocks in the database are damaged: keeping what is intact, collecting the rest from peers", "database", n.chaindata(), "err", err)
		if err := n.store.MarkDamaged(fmt.Sprintf("%s: %v", n.chaindata(), err)); err != nil {
			return err
		}
	}
	if n.chain, err = chain.Salvage(n.store.Chain(), genesis, known.HeadHash); err == nil {
		err = n.store.ChainChecked()
	}
	return n.warnLowerHead(known, err)
}

// warnLowerHead says it if the head is below the one that the node had last, on the same network.
func (n *Node) warnLowerHead(known lastKnown, err error) error {
	if err != nil {
		return err
	}
	if head := n.chain.CurrentHeader(); known.Genesis == n.chain.Genesis().Hash() && head.Number.Uint64() < known.Head {
		n.log.Warn("Head is lower than when the node ran last: the database lost its newest blocks", "head", head.Number, "hash", head.Hash(),
			"last_head", known.Head, "last_hash", known.HeadHash, "database", n.chaindata())
	}
	return nil
}

// lostNetwork returns the network of a datadir whose database lost its genesis block; nil if that is not known.
func lostNetwork(known lastKnown) *network {
	if of := knownNetwork(known.Network); of != nil && of.genesis.ToBlock().Hash() == known.Genesis {
		return of
	}
	return nil
}

// checkNetwork refuses a network that is not the one that the datadir had, if a damaged database cannot tell any more.
func (n *Node) checkNetwork(known lastKnown) error {
	store, genesis := n.store.Chain(), n.network.genesis
	if _, damaged := n.store.Damage(); store.CanonicalHash(0) != (common.Hash{}) || known.Genesis == (common.Hash{}) ||
		!damaged && store.Markers().Head == (common.Hash{}) { // a new database, after the old one was removed
		return nil
	}
	if hash := genesis.ToBlock().Hash(); hash != known.Genesis {
		return &chain.GenesisMismatchError{Stored: known.Genesis, New: hash}
	}
	return nil
}

// leaveDamaged makes a node beam whose complete state turned out to be damaged.
func (n *Node) leaveDamaged() error {
	found := n.store.FirstDamage()
	if found == "" {
		return nil
	}
	if damage, known := n.store.Damage(); known && !damage.StateChecked { // said before
		return n.store.MarkDamaged(found)
	}
	n.log.Error("Local state is damaged: beaming on what is intact, and fetching the rest from peers", "database", n.chaindata(), "missing_or_wrong", found)
	if err := n.store.MarkDamaged(fmt.Sprintf("%s: missing or wrong: %s", n.chaindata(), found)); err != nil {
		return err
	}
	n.importer.SwitchToBeaming()
	return nil
}

// checkDamagedState removes from a damaged state what is not complete, so that the backfill fetches it.
func (n *Node) checkDamagedState(ctx context.Context) error {
	if damage, known := n.store.Damage(); !known || damage.StateChecked {
		return nil
	}
	n.log.Info("Checking the state on disk: reading all of it")
	began := time.Now()
	found, err := n.store.DiscardIncomplete(ctx)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // told to stop
	}
	if err != nil {
		return fmt.Errorf("check the damaged state: %w", err)
	}
	n.log.Info("Checked the state on disk: what is not complete is fetched again", "nodes", found.Nodes, "codes", found.Codes,
		"incomplete", found.Incomplete, "bad_codes", found.BadCodes, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// watchDamage ends the node if its database is damaged and no peer has what is missing.
func (n *Node) watchDamage(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	watch := damageWatch{}
	for {
		select {
		case now := <-tick.C:
			damage, known := n.store.Damage()
			status := n.importer.Status()
			if watch.over(now, n.repairTimeout, known, n.fetcher.Served(), status.Head, n.fetcher.Waiting() || longPending(status)) {
				return errNotRepaired(damage, n.chaindata(), n.repairTimeout)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func errNotRepaired(damage db.Damage, database string, waited time.Duration) error {
	return fmt.Errorf("database is damaged: %s; no peer sent what is missing within %v: connect the node to peers that serve state (--peers, --bootnodes), or remove %s: what it had is fetched again, if peers have it",
		damage.What, waited, database)
}

// longPending says whether a block waits for more than processors.
func longPending(status importer.Status) bool {
	for _, block := range status.Pending {
		if block.Waiting > time.Second {
			return true
		}
	}
	return false
}

// damageWatch decides when to give up waiting for peers.
type damageWatch struct {
	damaged bool
	served  uint64    // nodes and codes from peers when the damage was found
	head    uint64    // when needed was set
	needed  time.Time // since when something waits and nothing came; zero: nothing waited yet
}

// over takes in what is true every second: whether damage is known, how much peers have sent so far, the head,
// and whether a block or a query waits. It returns true if peers had the whole timeout.
func (w *damageWatch) over(now time.Time, timeout time.Duration, damaged bool, served, head uint64, waits bool) bool {
	if !damaged || !w.damaged {
		*w = damageWatch{damaged: damaged, served: served}
	}
	switch {
	case !damaged || served > w.served: // peers have it, and the node waits as any beaming one does
		return false
	case !w.needed.IsZero() && head > w.head: // blocks need nothing of what is missing
		w.needed = time.Time{}
	}
	if w.needed.IsZero() && waits {
		w.needed, w.head = now, head
	}
	return !w.needed.IsZero() && now.Sub(w.needed) >= timeout
}
