// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"cmp"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// Readiness says whether the node serves the head of the chain. It is the one answer that eth_syncing and the transaction
// pool have, and the first of the checks of /ready, beam_status and the status command.
//
// A node serves the head that it has, until the consensus client chooses another one that is more than one block above
// it or not known: the next block may be pending. Before the first forkchoice of a process nobody has chosen another
// one, so the node serves the head that it stopped at, at first the genesis block, as go-ethereum does. On a public
// network the genesis block is years old, and a wallet would take its state for that of today: there a node serves
// nothing before it has executed a block.
type Readiness struct {
	Ready  bool
	Reason string // why it is not
	Head   uint64 // number of the head
	Target uint64 // number of the newest block that the node should have executed; that of the head if it is ready
	NoHead bool   // no block was executed yet, and the genesis block is not served
	Within bool   // it is ready, or the head is at most MaxLag blocks behind, and not the genesis block
}

// Readiness returns whether the node serves the head now.
func (i *Importer) Readiness() Readiness {
	head := i.cfg.Chain.CurrentHeader()
	i.mu.Lock()
	chosen := i.mu.choice.Head
	i.mu.Unlock()
	newest := i.newest.Load()
	at := head.Number.Uint64()
	ready := Readiness{Ready: true, Head: at, Target: at, Within: true}
	if at == 0 && i.cfg.Public {
		reason := fmt.Sprintf("no block was executed yet: waiting for the %s to choose a head", i.driver())
		if i.called.Load() {
			reason = "no block was executed yet: the first one is being imported"
		}
		return Readiness{Reason: reason, Target: newest, NoHead: true}
	}
	if chosen == (common.Hash{}) || chosen == head.Hash() || i.cfg.Chain.Status(chosen) == chain.Executed {
		return ready // an executed block that is not the head is a marker's ancestor, or becomes the head now
	}
	if i.cfg.Chain.Rejects(chosen) {
		return ready // the consensus client chooses again
	}
	target := i.localHeader(chosen)
	switch {
	case target == nil:
		reason := fmt.Sprintf("the chosen head %s is not known yet", chosen.Hex())
		return Readiness{Reason: reason, Head: at, Target: max(newest, at), Within: at > 0}
	case target.Number.Uint64() <= at+1:
		return ready
	}
	behind := target.Number.Uint64() - at
	return Readiness{
		Reason: fmt.Sprintf("the head is %d blocks behind the chosen one, %d", behind, target.Number),
		Head:   at, Target: target.Number.Uint64(), Within: at > 0 && behind <= i.cfg.MaxLag,
	}
}

// Vitals is what a node's health depends on besides readiness. Reading it takes no lock.
type Vitals struct {
	HeadAge time.Duration // by the timestamp of the head
	Silence time.Duration // since a payload or forkchoice came, or since the start
	Called  bool          // one came
}

// Vitals returns what is true now.
func (i *Importer) Vitals() Vitals {
	return Vitals{HeadAge: i.headAge(), Silence: time.Since(i.lastCall()), Called: i.called.Load()}
}

func (i *Importer) headAge() time.Duration {
	return max(0, time.Since(time.Unix(int64(i.cfg.Chain.CurrentHeader().Time), 0)))
}

// Pulse is when the loop of Run turned last, which it does every few seconds; before that the start.
func (i *Importer) Pulse() time.Time { return time.Unix(0, i.pulse.Load()) }

// lastCall is when a payload or forkchoice came last, before that the start.
func (i *Importer) lastCall() time.Time { return time.Unix(0, i.heard.Load()) }

// Waiting is what the node waits for, in beam_status.
type Waiting struct {
	For    string      `json:"for"`    // a stage of an import (job.go), or who chooses the head
	Since  time.Time   `json:"since"`  // when it began
	Number uint64      `json:"number"` // of the block that has waited longest; zero: of none
	Hash   common.Hash `json:"hash"`
	Blocks int         `json:"blocks"` // that wait for the same
}

// driver is what a node waits for that imports nothing: blocks come from it.
func (i *Importer) driver() string { return cmp.Or(i.cfg.Driver, "consensus client") }

// idleAfter is how long the consensus client may be silent: two slots and a half.
const idleAfter = 30 * time.Second

// waiting returns what the node has waited for longest; nil if it makes progress. Blocks that wait for their parents
// wait for what those wait for.
func (i *Importer) waiting(pending []PendingBlock, heard time.Time) *Waiting {
	now := time.Now()
	var longest *Waiting
	for _, block := range pending {
		since := now.Add(-block.Waiting)
		if block.Waiting < progressInterval || block.Stage == stageParent || longest != nil && !since.Before(longest.Since) {
			continue
		}
		longest = &Waiting{For: block.Stage, Since: since, Number: block.Number, Hash: block.Hash}
	}
	if longest == nil {
		if len(pending) > 0 || now.Sub(heard) < idleAfter {
			return nil
		}
		return &Waiting{For: i.driver(), Since: heard}
	}
	for _, block := range pending {
		if block.Stage == longest.For {
			longest.Blocks++
		}
	}
	return longest
}
