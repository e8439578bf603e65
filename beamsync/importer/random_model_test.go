// SPDX-License-Identifier: LGPL-3.0-or-later

package importer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/chain"
)

// randomModel says which answers are wrong. It excuses the trust of docs/adr/0004: a beaming node that begins
// on a parent that it did not execute may begin above a bad block, unless the headers that it holds, or has just fetched, lead to
// one that it has called bad. It may have forgotten that one after 128 answers. What it executed before a bad block below
// was called that stays good, and so may what comes on top of it: a full node that has lost its state and goes further back
// calls that bad, and a beaming one may not.
type randomModel struct {
	*randomTree
	t      *testing.T
	chain  *chain.Chain
	beams  bool // all the time
	maxLag int
	start  time.Time

	mu      sync.Mutex
	said    map[common.Hash]time.Time // when a block was called bad first
	asked   map[common.Hash]int       // answers that make the node forget a bad block, by its hash
	begun   map[common.Hash]bool      // blocks on whose parents the node began to beam
	fetched map[common.Hash]fetched   // the latest headers from one down
	excused int                       // blocks on top of bad ones that were executed
	slowest time.Duration             // more than a fresh node, to make a good block the head
	history []string
}

type fetched struct {
	when    time.Time
	headers []*types.Header
}

func (m *randomModel) served(origin common.Hash, headers []*types.Header) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(headers) > m.maxLag {
		return // for a marker: with a bad one among them, none of them is kept
	}
	m.fetched[origin] = fetched{time.Now(), headers}
}

func (m *randomModel) noteLocked(format string, args ...any) {
	line := fmt.Sprintf("%8v ", time.Since(m.start).Round(time.Millisecond)) + fmt.Sprintf(format, args...)
	if !slices.Contains(m.history[max(0, len(m.history)-2):], line) { // asked often
		m.history = append(m.history, line)
	}
}

func (m *randomModel) failLocked(format string, args ...any) {
	m.noteLocked("WRONG: "+format, args...)
	m.t.Errorf(format, args...)
}

func (m *randomModel) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(format, args...)
}

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler: what the importer says it does, it says at once.
func (m *randomModel) Enabled(context.Context, slog.Level) bool { return true }

func (m *randomModel) WithAttrs([]slog.Attr) slog.Handler { return m }

func (m *randomModel) WithGroup(string) slog.Handler { return m }

func (m *randomModel) Handle(_ context.Context, record slog.Record) error {
	var hash common.Hash
	record.Attrs(func(a slog.Attr) bool {
		if h, ok := a.Value.Any().(common.Hash); ok && a.Key == "hash" {
			hash = h
		}
		return true
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noteLocked("  %s %s", record.Message, m.name[hash])
	switch record.Message {
	case "Invalid block":
		if !m.bad[hash] {
			m.failLocked("good block %s is called bad", m.name[hash])
		}
		m.sayLocked(hash)
	case "Beaming started", "Pivoted to the newest head":
		m.begun[hash] = true
	case "Block executed":
		if m.bad[hash] {
			m.executedLocked(hash)
		}
	}
	return nil
}

func (m *randomModel) sayLocked(hash common.Hash) {
	for at := hash; m.bad[at]; at = m.parent(at) {
		if m.chain.Status(at) == chain.Executed {
			return
		}
	}
	if _, said := m.said[hash]; !said {
		m.said[hash] = time.Now()
	}
}

// executedLocked looks at a block on top of a bad one that has just been executed and found good.
func (m *randomModel) executedLocked(hash common.Hash) {
	m.excusedLocked(hash)
	m.excused++
	if !m.begun[hash] {
		return
	}
	fetched := m.fetched[m.parent(hash)]
	known := len(fetched.headers)
	for at := m.parent(hash); m.bad[at] && m.chain.Status(at) != chain.Executed; at = m.parent(at) {
		stored := m.chain.Header(at) != nil
		said, ok := m.said[at]
		if ok && said.Before(time.Now()) && m.remembersLocked(at) {
			m.failLocked("%s is beamed on although %s below it is known to be bad", m.name[hash], m.name[at])
			return
		}
		if known--; !stored && (known < 0 || m.lateLocked(at, fetched.when)) {
			return // it cannot know
		}
	}
}

// lateLocked says whether nothing from a block down had been called bad when headers were fetched.
func (m *randomModel) lateLocked(at common.Hash, when time.Time) bool {
	for ; m.bad[at]; at = m.parent(at) {
		if said, ok := m.said[at]; ok && said.Before(when) {
			return false
		}
	}
	return true
}

// remembersLocked says whether the node must remember that a block is bad, or does.
func (m *randomModel) remembersLocked(hash common.Hash) bool {
	for at := hash; m.bad[at]; at = m.parent(at) {
		if m.asked[at] >= 40 {
			return m.chain.Rejects(hash)
		}
	}
	return true
}

// excusedLocked wants beaming to have begun between a block that is called good and the bad block below it.
func (m *randomModel) excusedLocked(hash common.Hash) {
	for at := hash; ; at = m.parent(at) {
		switch {
		case m.wrong[at]:
			m.failLocked("%s is called good, on top of %s, which the node had to execute", m.name[hash], m.name[at])
			return
		case m.chain.Status(at) != chain.Executed:
			m.failLocked("%s is called good, on top of %s, which is not executed", m.name[hash], m.name[at])
			return
		case m.begun[at]:
			return
		}
	}
}

// answer judges what was said of a block.
func (m *randomModel) answer(what string, hash common.Hash, status Outcome, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	latest := ""
	if status.LatestValid != nil {
		latest = m.name[*status.LatestValid]
	}
	m.noteLocked("%s %s: %s %s", what, m.name[hash], status.Status, latest)
	if err != nil {
		m.failLocked("%s %s: %v", what, m.name[hash], err)
	}
	for at := hash; m.bad[at]; at = m.parent(at) {
		if at == hash || !m.beams {
			m.asked[at]++
		}
		if m.wrong[at] && !m.said[at].IsZero() && m.remembersLocked(at) && !m.chain.Rejects(at) {
			m.failLocked("%s is forgotten after %d answers", m.name[at], m.asked[at])
		}
	}
	switch status.Status {
	case Valid:
		if m.bad[hash] {
			m.excusedLocked(hash)
		} else if m.chain.Status(hash) != chain.Executed {
			m.failLocked("%s is called good but was not executed", m.name[hash])
		}
	case Invalid:
		if !m.bad[hash] {
			m.failLocked("%s is called bad: %s", m.name[hash], reasonOf(status))
		}
		m.sayLocked(hash)
		if status.LatestValid != nil {
			m.latestLocked(hash, *status.LatestValid)
		}
	}
}

// latestLocked wants a latestValidHash to be an executed ancestor of a bad block, and nothing good to lie between.
func (m *randomModel) latestLocked(hash, latest common.Hash) {
	for at := hash; m.library[at] != nil; at = m.parent(at) {
		switch {
		case !m.bad[at]:
			m.failLocked("%s is implied to be bad by the latestValidHash of %s, %s", m.name[at], m.name[hash], m.name[latest])
			return
		case m.parent(at) != latest:
			continue
		case m.bad[latest]:
			m.excusedLocked(latest)
		case m.chain.Status(latest) != chain.Executed:
			m.failLocked("the latestValidHash of %s, %s, was not executed", m.name[hash], m.name[latest])
		}
		return
	}
	m.failLocked("the latestValidHash of %s, %x %s, is no ancestor", m.name[hash], latest, m.name[latest])
}
