// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
)

// lastKnown is what a datadir had when its node ran last. It is in a file outside the databases, so that what they lose
// is noticed: a database that lost its newest tables looks like an older one, and one that lost its first keys like
// that of another network.
type lastKnown struct {
	Genesis  common.Hash `json:"genesis"`
	Network  string      `json:"network"`
	Head     uint64      `json:"head"`
	HeadHash common.Hash `json:"headHash"`
	Share    float64     `json:"stateShare,omitempty"` // of the state that the backfill had collected
}

// lastKnownInterval bounds how often the file is written while many blocks are executed.
const lastKnownInterval = time.Second

func lastKnownPath(cfg *config.Config) string {
	return filepath.Join(cfg.InstanceDir(), "lastknown.json")
}

// readLastKnown returns the zero value if there is no such file, or none that decodes: it is a second opinion only.
func readLastKnown(cfg *config.Config) (known lastKnown) {
	raw, err := os.ReadFile(lastKnownPath(cfg))
	if err != nil || json.Unmarshal(raw, &known) != nil {
		return lastKnown{}
	}
	return known
}

// keepLastKnown writes the file.
func (n *Node) keepLastKnown() error {
	head := n.chain.CurrentHeader()
	raw, err := json.Marshal(lastKnown{
		Genesis: n.chain.Genesis().Hash(), Network: n.network.name, Head: head.Number.Uint64(), HeadHash: head.Hash(),
		Share: n.stateShare(),
	})
	if err != nil {
		return err
	}
	return atomicfile.Write(lastKnownPath(&n.cfg), raw)
}

// stateShare is how much of the state the backfill has, for the next process to go on at; 0 if it has nothing to collect.
func (n *Node) stateShare() float64 {
	if n.full() != nil {
		return 0
	}
	share := n.share
	if n.backfill != nil {
		share = max(share, n.backfill.Progress().Share)
	}
	return share
}

// announceHeads tells peers about new heads, and keeps the newest one in mind.
func (n *Node) announceHeads(ctx context.Context) error {
	heads := make(chan chain.HeadEvent, 16)
	sub := n.chain.SubscribeHead(heads)
	defer sub.Unsubscribe()
	tick := time.NewTicker(lastKnownInterval)
	defer tick.Stop()
	changed := false
	for {
		select {
		case <-heads:
			n.host.HeadChanged()
			changed = true
			continue
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if changed {
			changed = false
			if err := n.keepLastKnown(); err != nil {
				return err
			}
		}
	}
}
